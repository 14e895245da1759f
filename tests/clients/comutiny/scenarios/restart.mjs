// The server is restarted, in good order or not, while clients talk. Protocol: this prints READY-FOR-RESTART, whoever
// runs it restarts the server at the same address and writes RESTARTED to standard input. What was acknowledged, and what
// anybody heard, is in the chat afterwards; clients come back by themselves, and to a world without players.

import { CHAT_KEPT, expect, expectEqual, expectSameWorld, POLLING, scenario, settle, until, UPGRADING, WEB } from "../lib.mjs";

// What is heard before the restart is asked for.
const UNDER_WAY = 2 * CHAT_KEPT;

await scenario("restart", async stage => {
    const clients = [];
    for (const [name, transports] of Object.entries({ web: WEB, polling: POLLING, upgrading: UPGRADING })) {
        // The server may be away for longer than five attempts take.
        const client = await stage.connect(name, transports, { reconnectionAttempts: Infinity });
        client.mayFail = true;
        await client.join();
        clients.push(client);
    }
    const [web] = clients;
    await settle(web, clients);
    for (const client of clients) client.look();

    let isOver = false;
    const talking = clients.map(client => talkUntil(client, () => isOver || client.disconnects.length > 0));
    await until("something to be said", () => web.told.length >= UNDER_WAY);
    await stage.restart(() => Promise.all(talking));
    isOver = true;
    const known = new Map();
    for (const { told } of clients) {
        for (const [event, message] of told) if (event === "chat:message") known.set(message.id, message);
    }
    for (const messages of await Promise.all(talking)) for (const message of messages) known.set(message.id, message);

    await until("everybody to be back", () => clients.every(({ socket, opens }) => socket.connected && opens >= 2));
    await until("everybody to be shown the world", () => clients.every(({ told }) => told.some(isAfter)));
    for (const client of clients) {
        const [, snapshot] = client.told.findLast(isAfter);
        expect("nobody of before", snapshot.players.every(({ metadata }) => metadata.again), snapshot.players);
        const shown = new Map(snapshot.chat.map(message => [message.id, message]));
        expectEqual("messages kept", snapshot.chat.length, CHAT_KEPT);
        // As many as are kept; what was under way may be there as well, unheard.
        const unheard = snapshot.chat.filter(({ id }) => !known.has(id)).length;
        expect("few that nobody heard", unheard <= clients.length, unheard);
        const last = [...known.values()].slice(-(CHAT_KEPT - clients.length - unheard));
        for (const message of last) expectEqual(`message ${message.content}`, shown.get(message.id), message);
        // As the web client does when it is back.
        client.mayFail = false;
        client.look();
        await client.join({ metadata: { again: true } });
    }
    await settle(web, clients);
    await expectSameWorld(stage, clients);
    return `${known.size} messages were heard, and the last were there after the restart`;

    function isAfter([event]) {
        return event === "world:state";
    }
});

/** Says one thing after another; what was acknowledged. */
async function talkUntil(client, isOver) {
    const messages = [];
    const over = until(`${client.name} to be cut off`, isOver);
    for (let n = 0; !isOver(); n++) {
        const said = new Promise(resolve => {
            client.socket.volatile.emit("chat:message", { content: `${client.name} ${n}` }, resolve);
        });
        const answer = await Promise.race([said, over]);
        if (answer?.ok) messages.push(answer.message);
    }
    return messages;
}
