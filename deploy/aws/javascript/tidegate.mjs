// How does AWS's JavaScript client (@aws-sdk/client-iot-wireless, version 3) speak of CoAP devices?
// Its model drops members that it does not know, from requests and from answers, without a word.
// withCoap() puts those of the overlay (../models, what boto3 and the CLI read) back, by middleware
// that any version 3 client takes; operation() calls what AWS does not have.
//
//   import { IoTWirelessClient, GetServiceEndpointCommand } from "@aws-sdk/client-iot-wireless";
//   import { operation, withCoap } from "./tidegate.mjs";
//   const client = withCoap(new IoTWirelessClient({ endpoint: "http://127.0.0.1:8080" }));
//   await operation(client, GetServiceEndpointCommand, "GetMessageStatus", { Id, MessageId });
import { readFileSync } from "node:fs";

const MODEL = "../models/iotwireless/2020-11-22/service-2.sdk-extras.json";
const { operations, shapes } = JSON.parse(readFileSync(new URL(MODEL, import.meta.url))).merge;

/** Teaches a client the members of the overlay; returns it. */
export function withCoap(client) {
  client.middlewareStack.add(putMembers, { step: "build", name: "coapMembers" });
  // Inside the client's own deserializer: what came, before anything of it is dropped …
  client.middlewareStack.add(keepAnswer, { step: "deserialize", priority: "low", name: "coapAnswer" });
  // … and outside it: what was dropped.
  client.middlewareStack.add(putAnswer, { step: "deserialize", priority: "high", name: "coapOutput" });
  return client;
}

/**
 * Calls an operation that only the overlay has. `Known` is a command of the client without required
 * members that it lends its way to: GetServiceEndpointCommand.
 */
export function operation(client, Known, name, input = {}) {
  const { http, input: shape } = operations[name] ?? {};
  if (!http) throw new Error(`the overlay has no operation ${name}`);
  const command = new Known({});
  const become = (next) => (args) => {
    const { request } = args;
    const body = {};
    request.method = http.method;
    request.path = http.requestUri;
    request.query = {};
    for (const [member, value] of Object.entries(input)) {
      const { location, locationName = member } = shapes[shape.shape].members[member] ?? {};
      if (value === undefined) continue;
      if (location === "uri") {
        request.path = request.path.replace(`{${locationName}}`, encodeURIComponent(value));
      } else if (location === "querystring") {
        request.query[locationName] = String(value);
      } else {
        body[member] = value;
      }
    }
    const hasBody = http.method !== "GET" && http.method !== "DELETE";
    setBody(request, hasBody ? body : undefined);
    return next(args);
  };
  command.middlewareStack.add(become, { step: "build", priority: "high", name: "becomeOperation" });
  return client.send(command);
}

/** Members of the input that the client left out. */
const putMembers = (next, context) => (args) => {
  const { input, request } = args;
  const added = shapes[context.commandName?.replace(/Command$/, "Request")]?.members ?? {};
  const body = request.body ? JSON.parse(request.body) : {};
  let changed = false;
  for (const [member, value] of Object.entries(input)) {
    if (value === undefined) continue;
    const { location, locationName = member } = added[member] ?? {};
    if (location === "querystring") {
      request.query[locationName] = String(value);
    } else if (member in body || (member in added && !location)) {
      body[member] = merged(body[member], value);
      changed = true;
    }
  }
  if (changed) setBody(request, body);
  return next(args);
};

const keepAnswer = (next) => async (args) => {
  const result = await next(args);
  const { response } = result;
  const text = await textOf(response.body);
  response.body = new TextEncoder().encode(text);
  const isJson = response.statusCode < 300 && text.startsWith("{");
  if (isJson) raw.set(response, JSON.parse(text));
  return result;
};

const putAnswer = (next) => async (args) => {
  const result = await next(args);
  const answer = raw.get(result.response);
  if (answer) result.output = merged(result.output, answer);
  return result;
};

/** What an answer said, until its output is made of it. */
const raw = new WeakMap();

/** `known`, and of `all` what is missing in it. */
function merged(known, all) {
  if (known === undefined) return all;
  if (Array.isArray(known) && Array.isArray(all)) return all.map((item, at) => merged(known[at], item));
  const isStructure = (value) => Object.prototype.toString.call(value) === "[object Object]";
  if (!isStructure(known) || !isStructure(all)) return known;
  for (const [member, value] of Object.entries(all)) known[member] = merged(known[member], value);
  return known;
}

function setBody(request, body) {
  request.body = body === undefined ? undefined : JSON.stringify(body);
  const headers = Object.keys(request.headers);
  const named = (wanted) => headers.find((name) => name.toLowerCase() === wanted);
  delete request.headers[named("content-length")];
  if (body === undefined) {
    delete request.headers[named("content-type")];
  } else {
    request.headers[named("content-type") ?? "content-type"] = "application/json";
    request.headers["content-length"] = String(new TextEncoder().encode(request.body).length);
  }
}

async function textOf(body) {
  if (body === undefined || body === null) return "";
  if (typeof body === "string") return body;
  const parts = [];
  if (body instanceof Uint8Array) parts.push(body);
  else for await (const part of body) parts.push(part);
  return new TextDecoder().decode(Buffer.concat(parts));
}
