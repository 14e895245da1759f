// Malformed frames, each on a connection of its own: it is closed or told off, the document and the others' states stay
// as they are, and two stock clients in the same room go on all the while. Then random mutations of valid frames in a
// room of their own, where anything may happen but harm.

import * as prng from "lib0/prng";
import { Canary } from "../canary.mjs";
import { malformed, mutated } from "../frames.mjs";
import { expectEqual, scenario } from "../lib.mjs";
import { PROBE, Raw } from "../raw.mjs";

const MUTATIONS = 500;
const TEXT_CLASS = "text"; // only where all frames are binary

await scenario("bad-frames", async stage => {
    const canary = await Canary.start(stage);
    const base = stage.url.replace(/\/$/, "");
    const byPath = room => new Raw(`${base}/${room}`);
    const native = room => new Raw(`${new URL("/ws", base).href}?room=${encodeURIComponent(room)}`);
    const frames = Object.entries(malformed).flatMap(([kind, frames]) => {
        return Object.entries(frames).map(([what, frame]) => [`${kind}: ${what}`, frame]);
    });

    const taken = [];
    const fates = new Map();
    for (const [form, connect] of [["path", byPath], ["native", native]]) {
        const all = form === "path" ? [...frames, [TEXT_CLASS, "text"]] : frames;
        for (const [what, frame] of all) {
            const fate = await canary.during(() => connect(stage.run).offer(frame, what));
            if (fate === "answered") taken.push(`${form}, ${what}`);
            fates.set(fate, (fates.get(fate) ?? 0) + 1);
        }
    }
    expectEqual("malformed frames the server took without a word", taken, []);

    const random = prng.create(stage.seed);
    const below = bound => prng.int32(random, 0, bound - 1);
    for (let n = 0; n < MUTATIONS; n++) {
        const frame = mutated(below);
        const what = `mutation ${n} (${Buffer.from(frame).toString("hex")})`;
        await canary.during(() => byPath(`${stage.run}-mutated`).offer(frame, what));
    }
    const fate = await byPath(`${stage.run}-mutated`).offer(PROBE, "a good frame after all those");
    expectEqual("fate of a good frame in the room of mutations", fate, "answered");

    const rounds = await canary.finish();
    const told = [...fates].map(([fate, count]) => `${count} ${fate}`).join(", ");
    return `${frames.length} malformed frames: ${told}; ${MUTATIONS} mutations; ${rounds} rounds of the canary`;
});
