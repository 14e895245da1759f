// The server is restarted under its clients: they come back by themselves, and what they said meanwhile is said then.

import { expectEqual, scenario } from "../lib.mjs";

const CLIENTS = 12;

await scenario("restart", async stage => {
    const clients = await stage.join(Array.from({ length: CLIENTS }, (_, i) => `client-${i}`));
    await stage.restart(async () => {
        for (const client of clients) {
            await client.ended();
            client.socket.emit("message", "meanwhile", client.name, Buffer.from("m"));
        }
    });
    await Promise.all(clients.map(async client => {
        await client.settled(2);
        const said = ["meanwhile", client.name, Buffer.from("m")];
        expectEqual("what was said meanwhile", await client.hears("message-back"), said);
        await client.echo("again");
    }));
    await stage.untilMetric("lockstep_members", CLIENTS);
    const ids = new Set(clients.map(({ socket }) => socket.id));
    expectEqual("different ids", ids.size, CLIENTS);
    return `${CLIENTS} clients came back`;
});
