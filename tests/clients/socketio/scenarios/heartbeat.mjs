// In real time: a client that says nothing stays as long as it answers pings; one that does not is noticed, and
// comes back.

import { expect, expectEqual, scenario, until } from "../lib.mjs";

const PINGS = 8;
// A machine that is busy enough makes a client late: it is given another chance.
const TRIES = 5;

await scenario("heartbeat", async stage => {
    for (let tries = 1; ; tries++) {
        const idle = stage.client(`idle ${tries}`, { hasty: true });
        await idle.settled();
        const before = idle.pings;
        const isDecided = () => idle.pings >= before + PINGS || idle.connects > 1;
        await until("an idle client to be pinged, or to be gone", isDecided);
        const { connects, fates } = idle;
        idle.socket.disconnect();
        if (connects === 1) break;
        expect("an idle client to stay", tries < TRIES, fates);
    }
    await stage.untilMetric("lockstep_members", 0);

    const mute = stage.client("mute", { hasty: true, reconnection: false });
    await mute.settled();
    const { engine } = mute;
    const send = engine._sendPacket;
    engine._sendPacket = (type, ...rest) => {
        if (type !== "pong") send.call(engine, type, ...rest);
    };
    const reason = await mute.ended();
    const reasons = ["transport close", "transport error", "ping timeout"];
    expect(`one of ${reasons}`, reasons.includes(reason), reason);
    expectEqual("pings that were not answered", mute.pings > 0, true);
    await stage.untilMetric("lockstep_members", 0);
    await stage.untilMetric("lockstep_polling_members", 0);
    mute.socket.connect();
    await mute.connected(2);
    mute.socket.disconnect();

    // One whose network is dead: nothing is heard of it, and nothing reaches it.
    if (stage.transport !== "polling") {
        const dead = stage.client("dead", { hasty: true, reconnection: false });
        await dead.settled();
        dead.engine.transport.ws._socket.pause();
        dead.engine._sendPacket = () => {};
        await stage.untilMetric("lockstep_members", 0);
        const fate = dead.fates.at(-1);
        expect("the client to have given up by itself, if at all", ["connect", "ping timeout"].includes(fate), fate);
    }
    return `${PINGS} heartbeats, and an end for who does not answer`;
});
