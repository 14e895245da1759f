// Clients whose WebSocket is reset, or closed, while they move to it: they go on by polling and miss nothing.

import { expectEqual, expectUndisturbed, scenario, until } from "../lib.mjs";

/**
 * What is done to a WebSocket when its client wants to send the probe, or has just sent it. A client that has got the
 * answer no longer polls, and is lost with its WebSocket until its heartbeats end: it must not get it.
 */
const FAULTS = {
    reset: (socket, probe) => {
        probe();
        socket.resetAndDestroy();
    },
    "reset-unprobed": socket => socket.resetAndDestroy(),
    destroyed: (socket, probe) => {
        probe();
        socket.destroy();
    },
    ended: socket => socket.end(),
    garbled: socket => socket.write(Buffer.alloc(64, 0xFF)),
};

await scenario("failed-upgrade", async stage => {
    for (const [name, fault] of Object.entries(FAULTS)) {
        const client = stage.client(name);
        client.manager.once("open", () => sabotage(client.engine, fault));
        await client.connected();
        const talk = (async () => {
            for (let n = 0; n < 20; n++) await client.echo(n, Buffer.from([n]));
        })();
        await until(`the upgrade of ${name} to fail`, () => client.failedUpgrades > 0);
        await talk;
        await client.acked("by polling");
        expectEqual(`how ${name} travels`, [client.transport, client.upgrades], ["polling", 0]);
        expectUndisturbed([client]);
        await stage.untilMetric("lockstep_polling_members", 1);
        client.socket.disconnect();
        await stage.untilMetric("lockstep_members", 0);
    }
    return `${Object.keys(FAULTS).length} upgrades failed, and nothing was missed`;
});

function sabotage(engine, fault) {
    const create = engine.createTransport;
    engine.createTransport = name => {
        const transport = create.call(engine, name);
        const { send } = transport;
        transport.send = packets => fault(transport.ws._socket, () => send.call(transport, packets));
        return transport;
    };
}
