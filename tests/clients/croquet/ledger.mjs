// The application under test: a model that writes down everything that reaches it, so that two replicas agree
// only if they saw the same events at the same teatimes with the same future messages in between.
// The SDK hashes this source text into the session id: every process of a session must load this very file.

import Croquet from "@croquet/croquet";

// What runs inside the model is replayed by every replica; counting the runs of `init` is therefore done outside
// of it. (A replica that starts from a snapshot or rejoins seamlessly does not run `init`.)
export const inits = { count: 0, persisted: undefined };
globalThis.ledgerInits = inits;

export class Ledger extends Croquet.Model {
    init(_options, persisted) {
        globalThis.ledgerInits.count++;
        globalThis.ledgerInits.persisted = persisted;
        this.events = [];       // [teatime, sender, number, digest after it]
        this.presence = [];     // [teatime, "join" or "exit", viewId]
        this.ticks = 0;
        this.digest = 0x811c9dc5;
        this.subscribe("ledger", "event", this.append);
        this.subscribe("ledger", "save", this.save);
        this.subscribe(this.sessionId, "view-join", this.joined);
        this.subscribe(this.sessionId, "view-exit", this.exited);
        this.future(50).tick();
    }

    tick() {
        this.ticks++;
        this.future(50).tick();
    }

    append({ from, n, padding }) {
        // Math.random is the session's own random stream here: one event more or less and it is out of step.
        this.mix(`${this.now()} ${this.ticks} ${from} ${n} ${padding} ${Math.random()}`);
        this.events.push([this.now(), from, n, this.digest]);
        this.publish("ledger", "appended");
    }

    joined(viewId) { this.presence.push([this.now(), "join", viewId]); }
    exited(viewId) { this.presence.push([this.now(), "exit", viewId]); }

    save() {
        this.persistSession(() => ({ events: this.events.length, digest: this.digest }));
    }

    mix(text) { // FNV-1a
        for (let i = 0; i < text.length; i++) {
            this.digest = Math.imul(this.digest ^ text.charCodeAt(i), 0x01000193) >>> 0;
        }
    }
}
Ledger.register("Ledger");

/** Tells its client about every sign of life; a rebuilt view is how an application notices that it was rebooted. */
export class Witness extends Croquet.View {
    constructor(model, client) {
        super(model);
        client.boots++;
        client.synced = false;
        client.viewId = this.viewId;
        this.subscribe("ledger", { event: "appended", handling: "oncePerFrame" }, client.changed);
        this.subscribe(this.viewId, { event: "synced", handling: "immediate" }, synced => {
            client.synced = synced;
            client.changed();
        });
        client.changed();
    }
}
