#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Node's ws as client of ws_echo and as server of ws_echo_client, with and without compression.

The module comes from the Debian package node-ws, or from the folder that BECK_NODE_MODULES
names."""
# limit 120

import os
import shutil
import subprocess
import tempfile

from ws_programs import BUILD, Checks, EchoServer, skip

SCRIPT = r"""
const { WebSocket, WebSocketServer } = require('ws');
const { spawn } = require('child_process');
const assert = require('assert');

const messages = ['', 'hello', 'Größe 😀', 'x'.repeat(125), 'y'.repeat(65536), Buffer.alloc(0),
  Buffer.from([0, 255, 1]), Buffer.alloc(70000, 7), 'é'.repeat(1 << 20),
  Buffer.alloc(16 << 20, 9)];
let passed = 0;

function same(a, data, isBinary) {
  const want = Buffer.from(a);
  assert.strictEqual(isBinary, typeof a !== 'string');
  assert.ok(want.equals(data), `${want.length} bytes came back as ${data.length}`);
  passed++;
}

function next(ws) {
  return new Promise((resolve, reject) => {
    ws.once('message', (data, isBinary) => resolve([data, isBinary]));
    ws.once('close', (code) => reject(new Error(`closed ${code}`)));
  });
}

async function client(url, perMessageDeflate, extensions) {
  const ws = new WebSocket(url, { maxPayload: 0, perMessageDeflate });
  await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject); });
  assert.strictEqual(ws.extensions, extensions);
  for (const message of messages) {
    const back = next(ws);
    ws.send(message);
    same(message, ...await back);
  }
  const joined = next(ws);
  ws.send('one ', { fin: false });
  ws.ping('?');
  ws.send('two', { fin: true });
  const pong = new Promise((resolve) => ws.once('pong', (data) => resolve(data.toString())));
  same('one two', ...await joined);
  assert.strictEqual(await pong, '?');
  const closed = new Promise((resolve) => ws.once('close', (code, why) => resolve([code, why])));
  ws.close(4000, 'enough');
  const [code, why] = await closed;
  assert.strictEqual(code, 4000);
  passed++;
}

async function refused(url) {
  const ws = new WebSocket(url);
  await new Promise((resolve) => ws.once('open', resolve));
  const closed = new Promise((resolve) => ws.once('close', resolve));
  ws.on('error', () => {});
  ws.send(Buffer.alloc((16 << 20) + 1));
  assert.strictEqual(await closed, 1009);
  passed++;
}

async function server(program, perMessageDeflate, extensions) {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 0,
    perMessageDeflate });
  await new Promise((resolve) => wss.once('listening', resolve));
  const ran = [];
  let failure = null;
  wss.on('connection', async (ws, request) => {
    try {
      assert.strictEqual(ws.extensions, extensions);
      if (request.url === '/getCaseCount') {
        ws.send(String(messages.length));
      } else if (request.url.startsWith('/runCase?case=')) {
        const number = parseInt(request.url.slice('/runCase?case='.length), 10);
        const back = next(ws);
        ws.send(messages[number - 1]);
        same(messages[number - 1], ...await back);
        ran.push(number);
      } else {
        assert.strictEqual(request.url, '/updateReports?agent=beck');
      }
      ws.close(1000);
    } catch (error) {
      failure = error;
      ws.terminate();
    }
  });
  const child = spawn(program, [`ws://127.0.0.1:${wss.address().port}`], { stdio: 'inherit' });
  const status = await new Promise((resolve) => child.once('exit', resolve));
  wss.close();
  if (failure) throw failure;
  assert.strictEqual(status, 0);
  assert.deepStrictEqual(ran, messages.map((_, i) => i + 1));
}

(async () => {
  const [url, program] = process.argv.slice(2);
  const name = 'permessage-deflate';
  await client(url, false, '');
  await client(url, true, name);
  await client(url, { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 },
    name);
  await client(url, { serverMaxWindowBits: 9, clientMaxWindowBits: 10, threshold: 10 }, name);
  await refused(url);
  await server(program, false, '');
  await server(program, true, name);
  await server(program, { serverNoContextTakeover: true, clientNoContextTakeover: true,
    serverMaxWindowBits: 11, clientMaxWindowBits: 9, threshold: 0 }, name);
  console.log(`node: ${passed} passed`);
})().catch((error) => { console.error(error); process.exit(1); });
"""

NODE_PATH = os.pathsep.join(filter(None, [
    os.environ.get("BECK_NODE_MODULES"), f"{BUILD}/node_modules", "/usr/share/nodejs"]))
if not shutil.which("node"):
    skip("node is not installed")
environment = dict(os.environ, NODE_PATH=NODE_PATH)
if subprocess.run(["node", "-e", "require('ws')"], env=environment,
                  capture_output=True).returncode != 0:
    skip("Node's ws is not installed (Debian: node-ws)")

checks = Checks()
with tempfile.NamedTemporaryFile("w", suffix=".js") as script, EchoServer() as echo:
    script.write(SCRIPT)
    script.flush()
    run = subprocess.run(["node", script.name, echo.url, f"{BUILD}/examples/ws_echo_client"],
                         env=environment, capture_output=True, text=True, timeout=100)
    checks.check("node's ws", run.returncode == 0, run.stdout + run.stderr)
    print(run.stdout, end="")
checks.end()
