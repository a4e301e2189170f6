// A tool server without dependencies: the Model Context Protocol over stdin and stdout, one JSON object a line.
const tickets = {
  '1.4': ['Exports can be scheduled', 'Large uploads go on after a lost connection'],
};
const tool = {
  name: 'list',
  description: 'Lists the released tickets of a version.',
  inputSchema: { type: 'object', properties: { version: { type: 'string' } }, required: ['version'] },
};

function answer(method, params) {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'tickets', version: '1.0.0' },
      };
    case 'tools/list':
      return { tools: [tool] };
    case 'tools/call': {
      const found = tickets[params.arguments.version] ?? [];
      const text = found.map((title) => `- ${process.env.TICKETS_PROJECT}: ${title}`).join('\n');
      return { content: [{ type: 'text', text: text || 'There are none.' }] };
    }
    default:
      return {};
  }
}

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  // What has no id wants no answer.
  if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: answer(method, params) }));
});
