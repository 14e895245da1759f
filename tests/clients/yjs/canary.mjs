// Two stock clients who write in turn while others misbehave in their room.

import { expect, expectConnections, expectEqual, until, untilSame } from "./lib.mjs";
import { clocks } from "./state.mjs";

export class Canary {
    static async start(stage) {
        const canary = new Canary();
        canary.pair = await stage.join(["ann", "bob"]);
        for (const client of canary.pair) client.awareness.setLocalState({ user: client.name });
        canary.rounds = 0;
        return canary;
    }

    /** One round while `attack` goes on. Returns what that returns. */
    async during(attack) {
        const [writer, reader] = this.rounds % 2 ? this.pair : [...this.pair].reverse();
        const entry = `round ${this.rounds++}`;
        const list = client => client.doc.getArray("rounds");
        const outcome = attack();
        list(writer).push([entry]);
        await until(`${reader.name} to hear of ${entry}`, () => list(reader).get(this.rounds - 1) === entry);
        return outcome;
    }

    async finish() {
        const [ann, bob] = this.pair;
        await Promise.all(this.pair.map(client => client.settled()));
        await untilSame(this.pair);
        expectConnections(this.pair);
        const writers = clocks(ann.doc).split(" ").map(pair => Number(pair.split(":")[0]));
        expectEqual("who has written in the canary's document", writers, [ann.id, bob.id].sort((a, b) => a - b));
        expectEqual("types of the canary's document", [...ann.doc.share.keys()], ["rounds"]);
        for (const [client, other] of [[ann, bob], [bob, ann]]) {
            expectEqual(`clients ${client.name} knows of`, [...client.others.keys()], [other.id]);
        }
        expect("rounds", this.rounds > 0, this.rounds);
        return this.rounds;
    }
}
