"""Observes a resource by aiocoap and prints each state on a line of its own. (Its own command line cancels
the observation with the first response.)"""
import asyncio
import json
import sys

import aiocoap


async def main(uri, credentials):
    context = await aiocoap.Context.create_client_context()
    with open(credentials) as file:
        context.client_credentials.load_from_dict(json.load(file))
    request = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
    first = await request.response
    print(first.payload.decode(), flush=True)
    async for state in request.observation:
        print(state.payload.decode(), flush=True)


asyncio.run(main(*sys.argv[1:]))
