// The server is restarted, in good order or not. Protocol: this prints READY-FOR-RESTART, whoever runs it restarts the
// server at the same address and writes RESTARTED to standard input. What was acknowledged is there afterwards, for one
// that comes while nobody who has it is there; whoever was away meanwhile goes on from what it had.

import { expect, expectEqual, ROUTE, scenario, until, untilSame } from "../lib.mjs";

const ACK = `${ROUTE}:ack`;

await scenario("restart", async stage => {
    const files = { "a.txt": "a", "b.txt": "b", "d/c.bin": "c".repeat(100_000) };
    const one = await stage.connect("one", { files, acks: true });
    const two = await stage.connect("two", { acks: true });
    await untilSame([one, two], files);
    one.edit("a.txt", "a again");
    one.edit("new.txt", "new");
    await untilSame([one, two]);
    await until("all to be acknowledged", () => one.look(ACK).some(({ r }) => r === one.root));
    for (const agent of [one, two]) agent.disconnect();

    await stage.restart();
    const late = await stage.connect("late", { isSilent: true });
    await untilSame([late], { ...files, "a.txt": "a again", "new.txt": "new" });

    // What it deleted while it was away is deleted, since it had announced the file before.
    one.edit("b.txt");
    one.edit("e.txt", "e");
    one.socket.connect();
    const { "b.txt": _, ...rest } = files;
    await untilSame([one, late], { ...rest, "a.txt": "a again", "e.txt": "e", "new.txt": "new" });
    two.socket.connect();
    await untilSame([one, two, late]);
    expectEqual("connections", [one.opens, two.opens, late.opens], [2, 2, 1]);
    expect("no copies", Object.keys(late.files).length === 4, Object.keys(late.files));
    return "what was acknowledged is there, and everybody went on from it";
});
