// Events, acknowledgements and binary attachments, both ways and in order.

import { expectEqual, expectUndisturbed, hasHeard, scenario, until } from "../lib.mjs";

const MANY = 500;

await scenario("talk", async stage => {
    const [ann] = await stage.join(["ann"], { auth: { token: "abc", "ü": [1, null] } });
    const [bob] = await stage.join(["bob"]);
    await ann.echo();
    await ann.echo(1, "2", { 3: [true, null, 1.5e300, -0.25] }, [], "ü \u{1F600} \" \\ \u0000 \u001e \u2028", "");
    await ann.echo("error", { _placeholder: "no", num: 0 });
    await ann.acked();
    await ann.acked(1, "2", { 3: [false] }, "\u{1F600}");

    // Binary attachments: bytes of every value, none at all, nested, several, and as many as there may be.
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await ann.echo(all);
    await ann.echo({ a: [{ b: all }, Buffer.alloc(0), "text"], c: Buffer.from("x") }, all);
    await ann.echo(...Array.from({ length: 10 }, (_, i) => Buffer.from([i])));
    await ann.acked(all, { deep: [[[Buffer.from("deep")]]] });

    // What the server asks, it is answered; also in binary, and by nobody.
    ann.socket.on("asked", (...args) => args.at(-1)("re", ...args.slice(0, -1), all));
    ann.socket.emit("ask", "who?", 7);
    expectEqual("what ann answered", await ann.hears("answered"), ["re", "who?", 7, all]);
    bob.socket.emit("ask", "anybody?");
    expectEqual("what bob did not answer", await bob.hears("unanswered"), []);
    const asked = [await ann.hears("asked"), await bob.hears("asked")].map(args => args.slice(0, -1));
    expectEqual("what was asked", asked, [["who?", 7], ["anybody?"]]);

    // A client asks with a timeout, and nobody answers an event of no name.
    const unanswered = await ann.socket.timeout(100).emitWithAck("no such event", 1).catch(({ message }) => message);
    expectEqual("what ann is told that nobody answers", unanswered, "operation has timed out");

    // Many at once, in order, to itself and to the other.
    const expected = { ann: [], bob: [] };
    for (let n = 0; n < MANY; n++) {
        ann.socket.emit("message", n);
        ann.socket.emit("broadcast", n, `n ${n}`);
        expected.ann.push(["message-back", n]);
        expected.bob.push(["broadcast", n, `n ${n}`]);
    }
    for (const client of [ann, bob]) {
        const events = expected[client.name];
        await until(`${client.name} to have heard all`, () => client.heard.length >= events.length);
        expectEqual(`whether ${client.name} heard them in order`, hasHeard(client, events), true);
    }
    expectUndisturbed([ann, bob]);
    return `${2 * MANY} events in order, acknowledgements and attachments`;
});
