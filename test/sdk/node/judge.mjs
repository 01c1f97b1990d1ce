// What the suites share: the situations, and what the simulated providers behind Penstock have seen.
//
// The Go test beside this folder starts all of it. SIM_URL is the simulator, DIALECTS are those of the providers that the suite
// has to reach. A situation with a provider of a dialect is the model 'SITUATION-DIALECT'.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const sim = process.env.SIM_URL;
const dialects = process.env.DIALECTS.split(',');
const situations = JSON.parse(readFileSync(new URL('../situations.json', import.meta.url), 'utf8'));

export const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';

const get = async (path) => (await fetch(sim + path)).json();

/** The providers' own bill, once they have noticed the end of every call. */
async function settled() {
  for (const end = Date.now() + 5000; Date.now() < end; await sleep(20)) {
    const now = await get('/_bill');
    if (now.open === 0) return now;
  }
  throw new Error('a call at the provider does not end');
}

/** How many calls of a situation have reached the provider. */
export async function calls(situation, dialect) {
  const all = Object.entries((await settled()).models);
  return all.filter(([name]) => name.startsWith(`${dialect}/${situation}-`)).reduce((sum, [, m]) => sum + m.calls, 0);
}

export const lastCall = async () => (await settled()).calls.at(-1)?.seq ?? 0;

/** When the provider noticed that the client of a call after number seq had left; in ms since 1970. */
export async function cancelledSince(situation, dialect, seq) {
  const gone = (c) => c.provider === dialect && c.model.startsWith(`${situation}-`) && c.seq > seq && c.canceled_at;
  for (const end = Date.now() + 5000; Date.now() < end; await sleep(50)) {
    const call = (await get('/_bill')).calls.find(gone);
    if (call) return Date.parse(call.canceled_at);
  }
  throw new Error(`the provider of ${dialect} never saw that the client of ${situation} left`);
}

/** The last request that reached a provider: its path, header and body. */
export const sent = async () => (await get('/_requests?n=1')).requests.at(-1);

/** What the promise fails with. */
export const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error);

/** Runs a test of a situation with the providers of all dialects that have it: run(model, dialect). */
export function everywhere(name, run, { situation = 'chat', but = [] } = {}) {
  describe(name, () => {
    for (const dialect of situations[situation].dialects ?? dialects) {
      if (!but.includes(dialect)) test(dialect, () => run(`${situation}-${dialect}`, dialect));
    }
  });
}

/**
 * Tests each situation that ends in an error for clients of a dialect, with all providers: ask(model) fails, and what it
 * failed with is given to check(error, outcome). Clients must not try again by themselves.
 */
export function troubles(client, ask, check) {
  for (const [situation, told] of Object.entries(situations)) {
    if (!told[client]) continue;
    everywhere(`trouble: ${situation}`, async (model, dialect) => {
      const before = await calls(situation, dialect);
      check(await failure(ask(model)), { says: '', retry_after: false, ...told, ...told[client] });
      assert.equal((await calls(situation, dialect)) - before, told.calls, 'the SDK adds no tries of its own');
    }, { situation });
  }
}
