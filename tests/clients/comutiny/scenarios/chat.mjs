// Talking: everybody hears it once, its author included; the last 50 messages are kept; texts are cut and trimmed; and who
// may speak as whom: with --anybody, for a server that lets everybody, as anybody.

import { CHAT_KEPT, expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS } from "../lib.mjs";

const EMPTY = "Message cannot be empty";

await scenario("chat", async (stage, { anybody }) => {
    const [watcher] = await stage.join(["watcher"]);
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
        const ann = await stage.connect(name, transports);
        await talk(stage, ann, watcher, anybody);
        ann.disconnect();
    }
    expectUndisturbed([watcher]);
    return "what was said was heard";
}, { options: { anybody: { type: "boolean", default: false } } });

async function talk(stage, ann, watcher, anybody) {
    const says = async (payload, expected) => {
        const { message } = await ann.done("chat:message", payload);
        const { id, timestamp, ...said } = message;
        expectEqual(`what ${JSON.stringify(payload).slice(0, 200)} becomes`, said, expected);
        return message;
    };
    if (anybody) {
        await says({ content: "early", playerId: " x " }, { playerId: "x", author: "Player x", content: "early" });
    } else {
        await ann.refused("chat:message", "Player not registered", { content: "early", playerId: "x" });
    }
    await ann.refused("chat:message", "playerId is required for chat messages", { content: "early" });
    await ann.join({ name: "Ann" });
    await settle(ann, [watcher]);
    ann.look();
    watcher.look();

    const mine = { playerId: ann.id, author: "Ann" };
    const message = await says({ content: " hello \n" }, { ...mine, content: "hello" });
    await settle(ann, [watcher]);
    for (const each of [ann, watcher]) expectEqual(`${each.name} hears`, each.look(), [["chat:message", message]]);

    await says({ content: "x".repeat(501) }, { ...mine, content: "x".repeat(500) });
    // UTF-16 units count; a character is not cut in two.
    await says({ content: `${"é".repeat(499)}🦀` }, { ...mine, content: "é".repeat(499) });
    await says({ content: "as me", playerId: ann.id }, { ...mine, content: "as me" });
    const other = { content: "as you", playerId: watcher.id, author: "You" };
    if (anybody) {
        await says(other, { playerId: watcher.id, author: "You", content: "as you" });
    } else {
        await says({ content: "by you", author: "You" }, { ...mine, content: "by you" });
        await ann.refused("chat:message", "playerId is not the sender's", other);
    }
    for (const content of [undefined, null, 5, "", " \n\t", ["x"], { x: "y" }]) {
        await ann.refused("chat:message", EMPTY, { content });
    }
    await settle(ann, [watcher]);
    for (const each of [ann, watcher]) {
        const heard = each.look("chat:message");
        expectEqual(`what ${each.name} hears`, heard.length, 4);
        expectEqual("ids are unique", new Set(heard.map(({ id }) => id)).size, 4);
    }

    for (let n = 0; n < CHAT_KEPT + 10; n++) ann.socket.emit("chat:message", { content: `number ${n}` });
    await settle(ann, [watcher]);
    const heard = watcher.look("chat:message").map(({ content }) => content);
    expectEqual("what is heard", heard, Array.from({ length: CHAT_KEPT + 10 }, (_, n) => `number ${n}`));
    const late = await stage.connect("late");
    const [[, { chat }]] = late.look();
    // What settled it is the last.
    const kept = chat.slice(0, -1).map(({ content }) => content);
    expectEqual("what is kept", kept, heard.slice(1 - CHAT_KEPT));
    late.disconnect();
    await expectSameWorld(stage, [watcher, ann]);
}
