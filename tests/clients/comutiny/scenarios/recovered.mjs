// The server is restarted, in good order or not, and lets clients come back (--comutiny-recovery). Protocol: as in
// restart.mjs. The library recovers their connections: with the name of before, and each message told once, also to one
// that was away when it was said.

import { io } from "socket.io-client";
import { expect, expectEqual, POLLING, scenario, until, WEB } from "../lib.mjs";
import { changed } from "../../scenario.mjs";

const MESSAGES = 20;

await scenario("recovered", async stage => {
    const talker = open(WEB);
    const others = [WEB, POLLING].map(transports => open(transports));
    const away = open(WEB);
    const all = [talker, ...others, away];
    await until("everybody to be shown the world", () => all.every(({ shown }) => shown === 1));
    const ids = all.map(({ socket }) => socket.id);
    await talker.ask("player:join", { playerId: `${stage.run}-talker`, name: "talker" });
    await talk("before");
    await until("everybody to have heard it", () => all.every(({ heard }) => heard.length === MESSAGES));

    // One is cut off, and stays away until after the restart.
    away.socket.io.reconnection(false);
    away.socket.io.engine.close();
    await until("one to be away", () => !away.socket.connected);
    away.socket.io.reconnection(true);
    await talk("meanwhile");
    await until("the others to have heard it", () => others.every(({ heard }) => heard.length === 2 * MESSAGES));
    await stage.restart();
    away.socket.connect();
    await until("everybody to be back", () => all.every(({ socket, shown }) => socket.connected && shown === 2));
    for (const [at, { socket }] of all.entries()) {
        expect(`${at} has recovered`, socket.recovered);
        expectEqual("its name", socket.id, ids[at]);
    }
    // Its player has gone with the process.
    await talker.ask("player:join", { playerId: `${stage.run}-talker`, name: "talker" });
    await talk("after");
    await until("everybody to have heard it", () => all.every(({ heard }) => heard.length === 3 * MESSAGES));
    const said = ["before", "meanwhile", "after"].flatMap(when => numbered(when));
    for (const { heard } of all) expectEqual("what was heard", heard, said);
    all.forEach(({ socket }) => socket.disconnect());
    return `${all.length} clients heard ${said.length} messages, each once and in order`;

    async function talk(when) {
        for (const content of numbered(when)) await talker.ask("chat:message", { content });
    }

    function open(transports) {
        const socket = io(stage.url, { path: stage.path, transports, forceNew: true, reconnectionDelayMax: 400 });
        const client = { socket, shown: 0, heard: [] };
        socket.on("world:state", () => { client.shown++; changed(); });
        socket.on("chat:message", ({ content, playerId }) => {
            if (playerId !== "system") client.heard.push(content);
            changed();
        });
        socket.on("connect", changed);
        socket.on("disconnect", changed);
        client.ask = async (event, payload) => {
            const answer = await socket.timeout(20_000).emitWithAck(event, payload);
            expectEqual(`ok of ${event} (${answer.message})`, answer.ok, true);
        };
        return client;
    }
});

function numbered(when) {
    return Array.from({ length: MESSAGES }, (_, at) => `${when} ${at}`);
}
