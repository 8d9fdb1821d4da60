// The Vercel AI SDK: node with_ai_sdk.mjs http://HOST:PORT, in a folder where `npm ci` was run.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// Packages stand in the working folder, not beside this file.
const require = createRequire(pathToFileURL(join(process.cwd(), 'package.json')));
const { generateText, streamText, jsonSchema, tool } = require('ai');
const { createOpenAICompatible } = require('@ai-sdk/openai-compatible');

const calls = [];
const provider = createOpenAICompatible({ name: 'onrecord', baseURL: process.argv[2] + '/v1', includeUsage: true });
const headers = (name) => ({
  'x-onrecord-request-id': name,
  'x-onrecord-session': 'client',
  'x-onrecord-tags': `call=${name}`,
});

async function seen(name, result, got) {
  const [text, usage, finish, tools] = await Promise.all([result.text, result.usage, result.rawFinishReason, result.toolCalls]);
  const record = {
    'gen_ai.usage.input_tokens': usage.inputTokens,
    'gen_ai.usage.output_tokens': usage.outputTokens,
  };
  if (text) record['onrecord.output.text'] = text;
  if (finish) record['gen_ai.response.finish_reasons'] = [finish];
  const called = tools.map(({ toolName, input }) => ({ toolName, input }));
  calls.push({ name, got: { text, finish, tools: called, input: usage.inputTokens, output: usage.outputTokens, got }, record });
}

const options = (name) => ({
  model: provider('tiny-pydoc'),
  prompt: 'What is the capital of France?',
  temperature: 0,
  maxOutputTokens: 24,
  maxRetries: 0,
  headers: headers(name),
});

await seen('chat', await generateText(options('chat')));

const stream = streamText(options('chat-stream'));
const pieces = [];
for await (const piece of stream.textStream) pieces.push(piece);
await seen('chat-stream', stream, pieces);

const inputSchema = jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] });
const tools = { get_weather: tool({ description: 'Get the weather in a city.', inputSchema }) };
await seen('chat-tool', await generateText({ ...options('chat-tool'), prompt: 'What is the weather in Paris?', maxOutputTokens: 120, tools }));

process.stdout.write(JSON.stringify(calls));
