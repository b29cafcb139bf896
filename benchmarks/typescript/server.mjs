// The official TypeScript SDK's server on node:http: stateless, JSON answers, both kinds of clients.
import { createServer } from 'node:http';
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import * as z from 'zod';

const inputSchema = z.object({ a: z.number(), b: z.number() });

function build() {
    const server = new McpServer({ name: 'yardstick', version: '1.0.0' });
    server.registerTool('simpleadd', { description: 'Add two numbers.', inputSchema }, async ({ a, b }) => ({
        content: [{ type: 'text', text: String(a + b) }]
    }));
    return server;
}

const modern = toNodeHandler(createMcpHandler(build, { responseMode: 'json', legacy: 'reject' }));

async function legacy(request, response) {
    const transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: undefined,
        enableJsonResponse: true
    });
    const server = build();
    response.on('close', () => void server.close());
    await server.connect(transport);
    await transport.handleRequest(request, response);
}

createServer((request, response) =>
    request.headers['mcp-protocol-version'] === '2026-07-28'
        ? modern(request, response)
        : legacy(request, response)
).listen(Number(process.env.PORT), '127.0.0.1');
