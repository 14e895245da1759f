// Several namespaces on one connection; one that is not there, and one that refuses.

import { expectEqual, expectUndisturbed, scenario } from "../lib.mjs";

await scenario("namespaces", async stage => {
    const [ann] = await stage.join(["ann"], { auth: { in: "root" } });
    const { manager } = ann;
    const custom = stage.client("custom", { manager, namespace: "/custom", auth: { in: "custom" } });
    await custom.connected();
    expectEqual("auth in /custom", await custom.hears("auth"), [{ in: "custom" }]);
    expectEqual("whether ids differ", new Set([ann, custom].map(({ socket }) => socket.id)).size, 2);

    const nowhere = stage.client("nowhere", { manager, namespace: "/nowhere" });
    expectEqual("why there is no /nowhere", await nowhere.ended(), "Invalid namespace");
    const [bob] = [stage.client("bob", { auth: { token: "refused" } })];
    await bob.ended();
    expectEqual("how bob is refused", bob.refusal, { message: "Refused", data: { token: "refused" } });
    bob.socket.auth = { token: "better" };
    bob.socket.connect();
    await bob.settled();
    expectEqual("bob's auth", await bob.hears("auth"), [{ token: "better" }]);

    // One leaves, the other stays; and comes back on the same connection.
    const engine = manager.engine.id;
    custom.socket.disconnect();
    expectEqual("how custom went", await custom.ended(), "io client disconnect");
    await ann.echo("still here");
    custom.socket.connect();
    await custom.connected(2);
    expectEqual("auth in /custom again", await custom.hears("auth"), [{ in: "custom" }]);
    expectEqual("the connection", manager.engine.id, engine);
    await ann.echo("and both");

    // The server disconnects one of the two.
    ann.socket.emit("kick");
    expectEqual("how ann went", await ann.ended(), "io server disconnect");
    expectEqual("whether custom stayed", [custom.socket.connected, manager.engine.id], [true, engine]);
    ann.socket.connect();
    await ann.connected(2);
    await ann.hears("auth");
    await ann.echo("back");

    // Namespaces have names of their own on the wire: a query there is a part of it.
    const query = stage.client("query", { manager, namespace: "/custom?token=abc" });
    expectEqual("how /custom?token=abc goes", await query.ended(), "Invalid namespace");
    expectUndisturbed([]);
    return "joined, left, refused and joined again on one connection";
});
