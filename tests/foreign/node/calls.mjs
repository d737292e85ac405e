// Does AWS's JavaScript client speak every operation? It calls those of tests/foreign/calls.json in
// their order, by the client's own commands or, where AWS has none, by the overlay's; each answer has
// the status and the members that the OpenAPI document says. Run by tests/tests/sdk_javascript.rs:
// what it needs comes as a line of JSON, what it did goes out as one.
import * as iot from "@aws-sdk/client-iot";
import * as wireless from "@aws-sdk/client-iot-wireless";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const { operation, withCoap } = await import(process.argv[2]);
const { calls, values, document } = JSON.parse(readFileSync(0, "utf8"));
const client = withCoap(new wireless.IoTWirelessClient({}));
const core = new iot.IoTClient({});

const described = {};
for (const methods of Object.values(document.paths)) {
  for (const said of Object.values(methods)) described[said.operationId] = said;
}

/** What stands for a `$name`; times are dates to this client. */
function filled(value, name = "") {
  if (Array.isArray(value)) return value.map((item) => filled(item));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, filled(of, name)]));
  }
  const given = typeof value === "string" && value.startsWith("$") ? values[value.slice(1)] : value;
  return name.endsWith("Timestamp") ? new Date(given * 1000) : given;
}

function send(name, input) {
  const command = `${name}Command`;
  if (wireless[command]) return client.send(new wireless[command](input));
  if (iot[command]) return core.send(new iot[command](input));
  return operation(client, wireless.GetServiceEndpointCommand, name, input);
}

/** The value is one of the schema: its type, what must be there, its enum, nothing besides. */
function fits(schema, value, at) {
  if (schema.oneOf) return assert(schema.oneOf.some((of) => typeOf(value) === of.type), at);
  if (schema.type === "object") {
    assert.equal(typeOf(value), "object", at);
    for (const name of schema.required ?? []) assert(value[name] !== undefined, `${at}.${name} is missing`);
    for (const [name, of] of Object.entries(value)) {
      const member = schema.properties?.[name] ?? schema.additionalProperties;
      if (of === undefined) continue;
      assert(member, `${at}.${name} is in no schema`);
      fits(member, of, `${at}.${name}`);
    }
  } else if (schema.type === "array") {
    assert.equal(typeOf(value), "array", at);
    value.forEach((item, number) => fits(schema.items, item, `${at}[${number}]`));
  } else {
    const wanted = schema.type === "integer" ? "number" : schema.type;
    // The client makes dates of times, from numbers and from text.
    if (!(value instanceof Date)) assert.equal(typeOf(value), wanted, at);
    if (schema.enum) assert(schema.enum.includes(value), `${at}: ${value}`);
  }
}

function typeOf(value) {
  return Array.isArray(value) ? "array" : typeof value;
}

const succeeded = new Set();
for (const { op, in: input, keep = {} } of [...calls.first, ...calls.last]) {
  const { $metadata, ...answer } = await send(op, filled(input)).catch((error) => {
    throw new Error(`${op}: ${error.name} ${error.message}`);
  });
  const status = Object.keys(described[op].responses).find((status) => status !== "default");
  assert.equal(String($metadata.httpStatusCode), status, op);
  const schema = described[op].responses[status].content?.["application/json"].schema;
  fits(schema ?? { type: "object" }, answer, op);
  for (const [name, member] of Object.entries(keep)) values[name] = answer[member];
  succeeded.add(op);
}
console.log(JSON.stringify([...succeeded].sort()));
process.exit(0);
