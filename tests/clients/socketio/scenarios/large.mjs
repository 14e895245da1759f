// Payloads up to the limit pass, by a byte; beyond it the connection ends and the client comes back. Others notice
// nothing.

import { expect, expectEqual, expectUndisturbed, PAYLOAD_BYTES_MAX, scenario } from "../lib.mjs";

/** Bytes of `42["message",""]`. */
const FRAME = Buffer.byteLength('42["message",""]');

await scenario("large", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    const isPolling = stage.transport === "polling";
    await ann.echo("x".repeat(PAYLOAD_BYTES_MAX - FRAME)); // the limit itself
    await ann.echo("é".repeat((PAYLOAD_BYTES_MAX - FRAME) / 2)); // counted in bytes, not in characters
    await ann.acked(Buffer.alloc(isPolling ? (PAYLOAD_BYTES_MAX - 4) / 4 * 3 : PAYLOAD_BYTES_MAX, 7));

    // More than the limit together: the client cuts what it sends to pieces.
    for (let n = 0; n < 8; n++) ann.socket.emit("message", n, "y".repeat(300_000));
    for (let n = 0; n < 8; n++) {
        const [number, text] = await ann.hears("message-back");
        expectEqual("what came back", [number, text.length], [n, 300_000]);
    }

    // Beyond it. The client takes either refusal for the end of its connection.
    const reason = isPolling ? "transport error" : "transport close";
    const beyond = ["x".repeat(PAYLOAD_BYTES_MAX - FRAME + 1), Buffer.alloc(PAYLOAD_BYTES_MAX + 1)];
    for (const [i, tooLarge] of beyond.entries()) {
        ann.heard = [];
        ann.socket.emit("message", tooLarge);
        await ann.settled(i + 2);
        expectEqual("what happened to ann", ann.fates.slice(-2), [reason, "connect"]);
        await ann.hears("auth");
        await ann.echo("back");
        expect("nothing else to come back", ann.heard.length === 0, ann.heard.length);
    }
    await bob.echo("undisturbed");
    expectUndisturbed([bob]);
    await stage.untilMetric("lockstep_members", 2);
    return "the limit to the byte, and no more";
});
