// The server ends, in good order or not, under clients of Zeal's Socket.IO form: what they were sent is there when it is
// back, and they go on by themselves.

import { Editor } from "../edits.mjs";
import { breathe, expectConnections, expectEqual, scenario, until, untilSame } from "../lib.mjs";
import { SocketIoClient } from "../socketio.mjs";

const EDITS = 300;

await scenario("zeal-restart", async (stage, { path }) => {
    const url = stage.url.replace(/^ws/, "http").replace(/\/yjs$/, "");
    const join = (name, room = stage.run) => new SocketIoClient(name, { url, path, room });
    const clients = [join("zoe"), join("pol")];
    const [ann] = await stage.join(["ann"]);
    const leaver = join("leaver", `${stage.run}-left`);
    const all = [...clients, ann];
    await Promise.all([...all, leaver].map(client => client.synced()));
    await Promise.all([...all, leaver].map((client, i) => edits(client, stage.seed + i)));
    await Promise.all([...all, leaver].map(client => client.settled()));
    await untilSame(all);

    await stage.restart(async () => {
        await until("all to be cut", () => clients.every(({ sockets }) => sockets.at(-1).closed !== null));
        // Of this one the server has all that there is.
        leaver.close();
        for (const client of all) client.doc.getArray("ledger").push([client.name]);
    });
    await until("all to be back", () => all.every(({ sockets }) => sockets.length > 1 && sockets.at(-1).closed === null));
    await Promise.all(all.map(client => client.settled()));
    const fresh = join("fresh");
    await fresh.synced();
    const bytes = await untilSame([...all, fresh]);
    expectEqual("ledger", fresh.doc.getArray("ledger").toArray().sort(), ["ann", "pol", "zoe"]);

    const heir = join("heir", `${stage.run}-left`);
    await heir.synced();
    heir.provider.synced = leaver.provider.synced = true;
    await untilSame([heir, leaver]);
    expectConnections([fresh, heir]);
    return `went on with ${bytes.length} bytes`;
}, { options: { path: { type: "string", default: "/zeal/socket.io/" } } });

async function edits(client, seed) {
    const editor = new Editor(seed);
    for (let i = 0; i < EDITS; i++) {
        editor.edit(client.doc);
        await breathe(client);
    }
}
