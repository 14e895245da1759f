// A client that joins again and again is told to wait, and stays; others are not told of what was refused.

import { expect, expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS } from "../lib.mjs";

const JOINS = 40;

await scenario("too-often", async stage => {
    const [watcher] = await stage.join(["watcher"]);
    let refused = 0;
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
        const client = await stage.connect(name, transports);
        const answers = await Promise.all(Array.from({ length: JOINS }, (_, n) => {
            return client.ask("player:join", { playerId: client.id, metadata: { n } });
        }));
        const [taken, others] = [answers.filter(({ ok }) => ok), answers.filter(({ ok }) => !ok)];
        expect("some joins", taken.length >= 10, taken.length);
        expect("others refused", others.length > 0, taken.length);
        for (const answer of others) {
            expectEqual("a refusal", answer, { ok: false, message: "too many joins, try again in a moment" });
        }
        refused += others.length;
        await settle(client, [watcher]);
        expectEqual("joins that are told", watcher.look("player:joined").length, taken.length);
        await client.done("player:update", { metadata: { n: -1 } });
        await settle(client, [watcher]);
        watcher.look();
        expectUndisturbed([client]);
        await expectSameWorld(stage, [watcher, client]);
        client.disconnect();
    }
    expectUndisturbed([watcher]);
    return `${refused} joins were refused`;
});
