// Who comes late, or comes to an empty room, is told "synced" only with the whole document in hand.

import { Editor } from "../edits.mjs";
import { expectConnections, expectEqual, scenario, untilSame } from "../lib.mjs";
import { canonical } from "../state.mjs";

const EDITS = 500;
const LATE = ["cyd", "dan", "eve", "fay"];

await scenario("late-join", async stage => {
    // An empty room: the answer has nothing in it, yet it must come.
    const [ann] = await stage.join(["ann"]);
    const [bob] = await stage.join(["bob"], { params: { token: "is not part of the room's name" } });
    const editor = new Editor(stage.seed);
    for (let i = 0; i < EDITS; i++) editor.edit([ann, bob][i % 2].doc);
    await Promise.all([ann, bob].map(client => client.settled()));
    const bytes = await untilSame([ann, bob]);

    const late = LATE.map(name => stage.client(name));
    const whenSynced = late.map(client => new Promise(resolve => {
        client.provider.on("sync", synced => synced && resolve(canonical(client.doc)));
    }));
    for (const [i, seen] of (await Promise.all(whenSynced)).entries()) {
        const same = seen.equals(bytes);
        expectEqual(`document of ${LATE[i]} at "synced" (${seen.length} of ${bytes.length} bytes) complete`, same, true);
    }

    // What comes after is not missed either.
    for (const client of late) editor.edit(client.doc);
    await Promise.all(late.map(client => client.settled()));
    await untilSame([ann, bob, ...late]);
    expectConnections([ann, bob, ...late]);
    return `${LATE.length} late clients had all ${bytes.length} bytes when they were synced`;
});
