// A server that takes two native clients to a room (--max-clients-per-room 2): the third is told and closed with 1013,
// and takes the place of one that leaves.

import { expect, expectEqual, scenario, until } from "../lib.mjs";
import { ZealClient } from "../zeal.mjs";

await scenario("crowded", async stage => {
    const url = new URL("/ws", stage.url).href;
    const connect = async name => {
        const client = new ZealClient(name, url);
        await client.opened();
        client.join(stage.run);
        return client;
    };
    const first = [];
    for (const name of ["ann", "bob"]) {
        first.push(await connect(name));
        expectEqual(`answer to ${name}`, (await first.at(-1).event()).event, "joined");
    }
    const cyd = await connect("cyd");
    expectEqual("answer to cyd", await cyd.event(), { event: "error", error: "Room capacity reached" });
    await until("cyd to be closed", () => cyd.socket.closed !== null);
    expectEqual("cyd's close code", cyd.socket.closed, 1013);

    await first[0].close();
    // The server hears of the end when it hears of it; whoever is refused tries again, as clients do.
    let tries = 0;
    for (;;) {
        tries++;
        const dan = await connect(`dan${tries}`);
        const { event, error } = await dan.event();
        if (event === "joined") break;
        expectEqual("answer to dan", error, "Room capacity reached");
        await until("dan to be closed", () => dan.socket.closed !== null);
    }
    first[1].text.insert(0, "still here");
    await first[1].settled();
    expect("bob to be there", first[1].socket.closed === null, first[1].socket);
    return "a third client was refused until there was room";
});
