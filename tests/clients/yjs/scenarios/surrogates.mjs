// Some editors cut a character in two: what is inserted between the halves of a surrogate pair makes two replacement
// characters of them. The room must go on, and the server must count as clients do when all of it is deleted later.

import { expectConnections, expectEqual, scenario, untilSame } from "../lib.mjs";

const SMILES = 20;
const ROUNDS = 5;

await scenario("surrogates", async stage => {
    const everybody = await stage.join(["ann", "bob"]);
    const [ann, bob] = everybody;
    for (let round = 0; round < ROUNDS; round++) {
        ann.text.insert(ann.text.length, "🙂".repeat(SMILES));
        await untilSame([ann, bob]);
        for (let i = SMILES - 1; i >= 0; i--) bob.text.insert(2 * i + 1, "|"); // each pair is cut
        await untilSame([ann, bob]);
        expectEqual("ann's text", ann.text.toString(), "\ufffd|\ufffd".repeat(SMILES));
        // In some rounds the server is asked for it before all is deleted, in others only after.
        if (round % 2) everybody.push(...await stage.join([`early${round}`]));
        ann.text.delete(0, 3 * SMILES - 1);
        await untilSame([ann, bob]);
        bob.text.insert(1, "!");
        await bob.settled();
        everybody.push(...await stage.join([`late${round}`]));
        await untilSame(everybody);
        expectEqual("the late client's text", everybody.at(-1).text.toString(), "\ufffd!");
        ann.text.delete(0, 2);
    }
    await ann.settled();
    await untilSame(everybody);
    expectConnections(everybody);
    return `${SMILES * ROUNDS} characters were cut in two, and the room went on`;
});
