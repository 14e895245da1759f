// Clients go in every way there is, and come back; nobody else is disturbed, and nobody is left behind.

import { expectEqual, expectUndisturbed, scenario } from "../lib.mjs";

await scenario("comings", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    const ids = new Set([ann.socket.id]);
    const isBack = async times => {
        await ann.settled(times);
        await ann.hears("auth");
        await ann.echo("back", times);
        await bob.echo("undisturbed", times);
        ids.add(ann.socket.id);
        expectEqual("ids of ann so far", ids.size, times);
        await stage.untilMetric("lockstep_members", 2);
    };

    ann.socket.disconnect();
    expectEqual("how ann said goodbye", await ann.ended(), "io client disconnect");
    await stage.untilMetric("lockstep_members", 1);
    ann.socket.connect();
    await isBack(2);

    // With the connection closed the client is told so before.
    ann.socket.emit("kick", "for good");
    expectEqual("how ann was kicked", await ann.ended(), "io server disconnect");
    expectEqual("what ann was told", ann.fates.slice(-2), ["connect", "io server disconnect"]);
    await stage.untilMetric("lockstep_members", 1);
    ann.socket.connect();
    await isBack(3);

    ann.engine.close();
    expectEqual("how ann's connection was closed", await ann.ended(), "forced close");
    ann.socket.connect();
    await isBack(4);

    // What is said while nobody listens is said later, in order.
    for (let times = 5; times < 10; times++) {
        ann.cut();
        await ann.ended();
        for (const n of [1, 2, 3]) ann.socket.emit("message", "meanwhile", n);
        await ann.settled(times);
        for (const n of [1, 2, 3]) expectEqual("what came later", await ann.hears("message-back"), ["meanwhile", n]);
        await isBack(times);
    }
    expectUndisturbed([bob]);
    for (const client of [ann, bob]) client.socket.disconnect();
    await stage.untilMetric("lockstep_members", 0);
    return "gone in five ways, and back";
});
