// Whom a server with tokens (--write-token and --read-token, as the server has them) turns away for good does not come
// back by itself; who may read only reads. A room that cannot be is refused likewise.

import { expect, expectConnections, expectEqual, scenario, until, untilSame } from "../lib.mjs";

const NAME_BYTES_MAX = 256;

const options = { "write-token": { type: "string" }, "read-token": { type: "string" } };

await scenario("denied", async (stage, { "write-token": write, "read-token": read }) => {
    const params = token => ({ params: { token } });
    const [ann] = await stage.join(["ann"], params(write));
    ann.text.insert(0, "for all to read");
    await ann.settled();

    for (const [name, options, code] of [
        ["nobody", {}, 4401],
        ["liar", params("wrong"), 4401],
        ["long", { ...params(write), room: "r".repeat(NAME_BYTES_MAX + 1) }, 4400],
    ]) {
        const client = stage.client(name, options);
        const closed = [];
        client.provider.on("closed", ({ code }) => closed.push(code));
        await until(`${name} to be turned away`, () => client.sockets[0]?.closed !== null);
        await until(`${name} to be told that it is for good`, () => closed.length > 0);
        expectEqual(`what ${name} was told`, closed, [code]);
        expectEqual(`whether ${name} will try again`, client.provider.shouldConnect, false);
        expectEqual(`what ${name} has seen`, client.text.toString(), "");
    }

    const denials = [];
    const reader = stage.client("reader", params(read));
    reader.provider.messageHandlers[2] = () => denials.push("denied"); // else it complains on the console
    await reader.synced();
    expectEqual("the reader's text", reader.text.toString(), "for all to read");
    reader.text.insert(0, "not ");
    reader.awareness.setLocalState({ user: "reader" });
    await until("the reader to be told", () => denials.length > 0);
    await until("ann to see the reader", () => ann.others.get(reader.id)?.user === "reader");
    ann.text.insert(ann.text.length, ", still");
    await until("the reader to read on", () => reader.text.toString() === "not for all to read, still");
    const [bob] = await stage.join(["bob"], params(write));
    await untilSame([ann, bob]);
    expectEqual("the text", bob.text.toString(), "for all to read, still");
    expect("no end of denials", denials.length < 10, denials.length);
    expectConnections([ann, bob, reader]);
    return "turned away for good, or reading only";
}, { options });
