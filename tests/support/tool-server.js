// A tool server without dependencies, that tells how it was started.
const readline = require('readline');
const answer = (id, result) => console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (method === 'initialize') {
    answer(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'test', version: '1' } });
  } else if (method === 'tools/list') {
    answer(id, { tools: [{ name: 'look', description: 'TELLS how it was started', inputSchema: { type: 'object', properties: { what: { type: 'string' } } } }] });
  } else if (method === 'tools/call') {
    let installed = 'nothing';
    try { installed = require('./installed.js'); } catch (e) {}
    const text = ['looked at ' + params.arguments.what, process.argv.slice(2).join('|'), process.env.TOKEN, installed].join(' / ');
    answer(id, { content: [{ type: 'text', text }] });
  } else {
    console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }));
  }
});
