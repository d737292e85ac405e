// How does node-dtls-client carry a device's bytes? device.mjs HOST PORT [OPTION=VALUE …], the
// options being those of ../coap_device.c: bytes from stdin go into the session and back to
// stdout. With again=yes a second session is made after the first, with the same options object.
import { dtls } from "node-dtls-client";
// By its path, because the package does not export its table.
import { CipherSuites } from "./node_modules/node-dtls-client/build/DTLS/CipherSuites.js";

const [address, port, ...rest] = process.argv.slice(2);
const given = Object.fromEntries(rest.map((pair) => pair.split(/=(.*)/s)));

function fail(error) {
  console.error(error.message ?? error);
  process.exit(1);
}

if (!(given.suite in CipherSuites)) fail("unknown suite");

const options = { type: "udp4", address, port: Number(port), timeout: 20000, ciphers: [given.suite] };
if (given.psk) {
  const at = given.psk.indexOf(":");
  options.psk = { [given.psk.slice(0, at)]: Buffer.from(given.psk.slice(at + 1), "hex") };
}

function connect(onConnected) {
  const socket = dtls.createSocket(options);
  socket.on("error", fail);
  socket.on("connected", () => onConnected(socket));
}

function carry(socket) {
  socket.on("message", (bytes) => process.stdout.write(bytes));
  socket.on("close", () => process.exit(0));
  process.stdin.on("data", (bytes) => socket.send(bytes));
  process.stdin.on("end", () => socket.close());
}

try {
  if (given.again) connect((first) => first.close(() => connect(carry)));
  else connect(carry);
} catch (error) {
  fail(error);
}
