// What two documents must have in common to be called equal.

import { createHash } from "node:crypto";
import * as Y from "yjs";

/**
 * The whole state of `doc` in one form: the same bytes from every replica that has the same structs and deletions.
 * A replica encodes deletions in the order in which it met its peers, and its structs as they were cut into pieces by
 * what came in between; loading all of it into a fresh document orders and joins them. Keys of plain objects have no
 * order: whoever decodes and encodes them may change it.
 */
export function canonical(doc) {
    const copy = new Y.Doc();
    Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc));
    for (const { content } of [...copy.store.clients.values()].flat()) {
        if (content instanceof Y.ContentAny) content.arr = content.arr.map(sorted);
        if (content instanceof Y.ContentEmbed) content.embed = sorted(content.embed);
        if (content instanceof Y.ContentFormat) content.value = sorted(content.value);
    }
    return Buffer.from(Y.encodeStateAsUpdate(copy));
}

function sorted(value) {
    if (Array.isArray(value)) return value.map(sorted);
    if (value?.constructor !== Object) return value;
    return Object.fromEntries(Object.keys(value).sort().map(key => [key, sorted(value[key])]));
}

/** Whether `doc` waits for structs or deletions it has heard of but cannot place. */
export function isComplete({ store }) {
    return store.pendingStructs === null && store.pendingDs === null;
}

/** The state vector of `doc`, as text. */
export function clocks(doc) {
    const pairs = [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b);
    return pairs.map(pair => pair.join(":")).join(" ");
}

/** One line about a document, for a reader of a failure. */
export function describe(doc) {
    const bytes = canonical(doc);
    const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
    const pending = isComplete(doc) ? "" : ", waiting for missing structs";
    return `${bytes.length} bytes, digest ${digest}, clocks ${clocks(doc)}${pending}`;
}
