// Many clients come at once, talk at once, and hear each other.

import { expectEqual, expectUndisturbed, scenario, until } from "../lib.mjs";

const CLIENTS = 80;
const MESSAGES = 10;

await scenario("crowd", async stage => {
    const names = Array.from({ length: CLIENTS }, (_, i) => `client-${i}`);
    const clients = await stage.join(names);
    expectEqual("different ids", new Set(clients.map(({ socket }) => socket.id)).size, CLIENTS);
    await stage.untilMetric("lockstep_members", CLIENTS);
    await stage.untilMetric("lockstep_polling_members", stage.transport === "polling" ? CLIENTS : 0);
    await Promise.all(clients.map(async client => {
        for (let n = 0; n < MESSAGES; n++) await client.acked(client.name, n, Buffer.from([n]));
    }));
    for (const client of clients) {
        for (let n = 0; n < MESSAGES; n++) client.socket.emit("broadcast", client.name, n);
    }
    const total = (CLIENTS - 1) * MESSAGES;
    await until("all to have heard all", () => clients.every(({ heard }) => heard.length >= total));
    // All in the same order, but what each has said itself.
    const order = new Map(clients.map(client => [client.name, client.heard.map(([, name, n]) => `${name} ${n}`)]));
    const [first, second] = names;
    for (const name of names) {
        expectEqual(`events that ${name} has heard`, order.get(name).length, total);
        const without = (list, ...those) => list.filter(event => !those.some(who => event.startsWith(`${who} `)));
        const other = name === first ? second : first;
        const same = without(order.get(name), other).join() === without(order.get(other), name).join();
        expectEqual(`whether ${name} heard them in the order of all`, same, true);
    }
    expectUndisturbed(clients);
    return `${CLIENTS} clients heard ${total} events each`;
});
