// With acknowledgements asked for: every ref is acknowledged, also one that is known or announced twice, by those that
// heard of it; gaps are answered, with nothing.

import { expectEqual, ROUTE, scenario, until, untilSame } from "../lib.mjs";

const ACK = `${ROUTE}:ack`;

await scenario("acks", async stage => {
    const one = await stage.connect("one", { acks: true });
    await acknowledged(one, 0);
    // The empty folder is the latest already.
    const two = await stage.connect("two", { acks: true });
    await acknowledged(two, 1);
    one.edit("a.txt", "a");
    await acknowledged(one, 1);
    await untilSame([one, two]);
    one.emitRef(one.root);
    one.emitRef(one.root);
    await acknowledged(one, 1);
    await acknowledged(one, 1);
    const three = await stage.connect("three", { acks: true, files: { "b.txt": "b" } });
    await acknowledged(three, 2);
    await untilSame([one, two, three], { "a.txt": "a", "b.txt": "b" });

    const answer = `${ROUTE}:gapfill:res`;
    two.socket.emit(`${ROUTE}:gapfill:req`, { route: ROUTE, afterSeq: 0 });
    await until("gaps to be filled", () => two.told.some(([event]) => event === answer));
    expectEqual("what fills them", two.look(answer), [{ route: ROUTE, refs: [] }]);
    return "everything was acknowledged";

    async function acknowledged(agent, others) {
        await until(`${agent.name} to be acknowledged`, () => agent.told.some(([event]) => event === ACK));
        const at = agent.told.findIndex(([event]) => event === ACK);
        const [[, { r, ok, receivedBy, totalClients }]] = agent.told.splice(at, 1);
        expectEqual(`of ${agent.name}`, [r, ok, receivedBy, totalClients], [agent.root, true, others, others]);
    }
});
