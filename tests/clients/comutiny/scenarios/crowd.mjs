// As the original's load test, faster: fifty clients, one after another, join and move twenty times a second. In the end
// all of them, and a newcomer, see the same.

import { setTimeout as pause } from "node:timers/promises";
import * as prng from "lib0/prng";
import { expect, expectEqual, expectSameWorld, expectUndisturbed, POLLING, scenario, settle, until, UPGRADING, WEB } from "../lib.mjs";

const PLAYERS = 50;
const RATE_HZ = 20;
const DURATION_MS = 2_000;
// The load test's clients are all of the first kind.
const KINDS = [WEB, WEB, WEB, UPGRADING, POLLING];

await scenario("crowd", async stage => {
    const all = [];
    const marks = [];
    const mark = what => marks.push(`${what} at ${(performance.now() / 1_000).toFixed(1)} s`);
    for (let n = 0; n < PLAYERS; n++) {
        const client = await stage.connect(`p${n}`, KINDS[n % KINDS.length], { reconnection: false });
        await client.join({ metadata: { n } });
        all.push(client);
    }
    mark("all there");
    // Loops of their own, each with a rate of its own making: nobody waits for the slowest.
    const count = DURATION_MS / 1_000 * RATE_HZ;
    const acks = await Promise.all(all.map(client => move(stage, client, count)));
    mark("moved");
    for (const client of all) await client.say(`bye from ${client.name}`);
    await settle(all[0], all);
    await until("everybody to have heard everybody", () => all.every(({ chat }) => chat.length === 50));
    mark("heard");
    await expectSameWorld(stage, all);
    mark("agreed");
    for (const { name, players } of all) {
        expectEqual(`players that ${name} sees`, players.size, PLAYERS);
        for (const [i, client] of all.entries()) {
            expectEqual(`${client.name} as ${name} sees it`, players.get(client.id).metadata, { n: i, at: count });
        }
    }
    const heard = all[0].told.filter(([event]) => event === "player:updated").length;
    expect("updates to be heard", heard >= PLAYERS - 1, heard);
    expectUndisturbed(all);
    const sorted = acks.flat().sort((a, b) => a - b);
    const part = share => sorted[Math.floor(sorted.length * share)].toFixed(1);
    for (const client of all) await client.ask("player:leave");
    for (const client of all) client.disconnect();
    return `${sorted.length} updates acknowledged in ${part(0.5)} ms (p50), ${part(0.95)} ms (p95); one heard ${heard}; ${marks.join(", ")}`;
});

async function move(stage, client, count) {
    const acks = [];
    for (let at = 1; at <= count; at++) {
        const began = performance.now();
        const [x, y, z] = [prng.real53(stage.random) * 50 - 25, prng.real53(stage.random) * 5, prng.real53(stage.random) * 50 - 25];
        const acked = client.done("player:update", { position: { x, y, z }, animation: "walk", metadata: { at } });
        acks.push(acked.then(() => performance.now() - began));
        // Sets the rate of the load.
        await pause(1_000 / RATE_HZ);
    }
    return Promise.all(acks);
}
