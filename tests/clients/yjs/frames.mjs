// Malformed frames by class, built byte by byte after the formats of y-protocols and of updates (v1). None may have an
// effect on anybody else.

import * as encoding from "lib0/encoding";
import * as Y from "yjs";
import { MESSAGE, SYNC } from "./wire.mjs";

/** The client id under which malformed updates and states are written. */
export const INTRUDER = 666;

const DEEP = 100_000;
const CONTENT = { gc: 0, deleted: 1, json: 2, binary: 3, string: 4, embed: 5, format: 6, type: 7, any: 8, skip: 10 };
const ANY = { array: 117, object: 118, string: 119, null: 126 };
const BAD_UTF8 = {
    "a stray byte": [0x61, 0xff, 0x62],
    "an overlong character": [0xc0, 0xaf],
    "half a surrogate pair": [0xed, 0xa0, 0x80],
    "a character cut short": [0xe2, 0x82],
};

/** Bytes of whatever is given: numbers are single bytes, the rest are lists of them. */
function bytes(...parts) {
    return Uint8Array.from(parts.flatMap(part => (typeof part === "number" ? [part] : [...part])));
}

function varuint(number) {
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, number);
    return encoding.toUint8Array(encoder);
}

function varbuf(content) {
    return bytes(varuint(content.length), content);
}

function varstring(text) {
    return varbuf(new TextEncoder().encode(text));
}

/** Ten groups of seven bits: more than any number may have. */
const OVERLONG = Array(9).fill(0xff).concat(0x7f);
const HUGE = varuint(2 ** 53 - 1);
const MANY = varuint(2 ** 28 - 1);
const BEYOND_U32 = varuint(2 ** 32);

const sync = (kind, payload) => bytes(MESSAGE.sync, kind, varbuf(payload));
const stateVector = (...parts) => sync(SYNC.step1, bytes(...parts));
const update = (...parts) => sync(SYNC.update, bytes(...parts));
const awareness = (...parts) => bytes(MESSAGE.awareness, varbuf(bytes(...parts)));
const state = text => awareness(1, varuint(INTRUDER), 1, typeof text === "string" ? varstring(text) : varbuf(text));

const NO_DELETIONS = [0];
/** An update with one item in a root type of its own. */
const item = (content, ...parts) => update(1, 1, varuint(INTRUDER), 0, content, 1, varstring("intruder"), bytes(...parts),
    NO_DELETIONS);

const VALID = validUpdate();

function validUpdate() {
    const doc = new Y.Doc();
    doc.clientID = INTRUDER;
    doc.getText("intruder").insert(0, "text");
    doc.getMap("intruder map").set("key", { list: [1, "two", null] });
    doc.getText("intruder").delete(1, 2);
    return Y.encodeStateAsUpdate(doc);
}

/** By class, by name: a frame that no server may take. */
export const malformed = {
    envelope: {
        "no bytes": bytes(),
        "a type cut short": bytes(0x80),
        "a type of too many bits": bytes(OVERLONG),
        "nothing but a type": bytes(MESSAGE.sync),
        "an unknown kind of sync": bytes(MESSAGE.sync, 3, 0),
        "a length cut short": bytes(MESSAGE.sync, SYNC.update, 0x80),
        "a length beyond the end": bytes(MESSAGE.sync, SYNC.update, 3, 0, 0),
        "a huge length": bytes(MESSAGE.sync, SYNC.update, HUGE, 0, 0),
        "awareness without a body": bytes(MESSAGE.awareness),
    },
    "unknown type": {
        "one": bytes(5),
        "with a body": bytes(100, varstring("body")),
        "a large one": varuint(2 ** 31),
    },
    "trailing bytes": {
        "half a message behind a message": bytes(awareness(0), 0x80),
        "in a state vector": stateVector(0, 0),
        "in an update": update(VALID, 0),
        "in an awareness update": awareness(0, 0),
    },
    "declared count too large": {
        "clients of a state vector": stateVector(MANY),
        "clients of a state vector, huge": stateVector(HUGE),
        "one more than there are": stateVector(2, varuint(INTRUDER), 1),
        "clients of an update": update(MANY),
        "clients of an update, huge": update(HUGE),
        "structs of a client": update(1, MANY, varuint(INTRUDER), 0, CONTENT.gc, 1, NO_DELETIONS),
        "clients of a delete set": update(0, MANY),
        "ranges of a delete set": update(0, 1, varuint(INTRUDER), MANY),
        "characters of a string": item(CONTENT.string, MANY, 0x61),
        "bytes of a binary": item(CONTENT.binary, HUGE, 0x61),
        "values": item(CONTENT.any, MANY, ANY.null),
        "JSON values": item(CONTENT.json, MANY, varstring("1")),
        "elements of an array value": item(CONTENT.any, 1, ANY.array, MANY, ANY.null),
        "entries of an object value": item(CONTENT.any, 1, ANY.object, MANY, varstring("k"), ANY.null),
        "entries of an awareness update": awareness(MANY),
        "entries of an awareness update, huge": awareness(HUGE),
    },
    "cut short": {
        "an entry of a state vector": stateVector(1, varuint(INTRUDER)),
        "an entry of an awareness update": awareness(1, varuint(INTRUDER), 1),
        "a state": awareness(1, varuint(INTRUDER), 1, 9, 0x22),
        ...prefixes(VALID),
    },
    "number out of range": {
        "client id of a state vector": stateVector(1, OVERLONG, 1),
        "client id of an update": update(1, 1, OVERLONG, 0, CONTENT.gc, 1, NO_DELETIONS),
        "length of a GC": update(1, 1, varuint(INTRUDER), 0, CONTENT.gc, HUGE, NO_DELETIONS),
        "a clock beyond 32 bits": update(1, 1, varuint(INTRUDER), BEYOND_U32, CONTENT.gc, 1, NO_DELETIONS),
        "the end of a deleted range": update(0, 1, varuint(INTRUDER), 1, varuint(2 ** 32 - 1), varuint(2 ** 32 - 1)),
    },
    "unknown content": {
        "of a struct": item(11, 0),
        "of a struct, the last there could be": item(31, 0),
        "a value": item(CONTENT.any, 1, 5),
        "a shared type": item(CONTENT.type, 99),
    },
    "invalid UTF-8": Object.fromEntries(Object.entries(BAD_UTF8).flatMap(([what, text]) => [
        [`${what} in a string`, item(CONTENT.string, varbuf(text))],
        [`${what} in a value`, item(CONTENT.any, 1, ANY.string, varbuf(text))],
        [`${what} in a key`, item(CONTENT.any, 1, ANY.object, 1, varbuf(text), ANY.null)],
        [`${what} in a state`, state(bytes(0x22, text, 0x22))],
        [`${what} in a custom message`, bytes(MESSAGE.custom, varbuf(bytes(0x22, text, 0x22)))],
    ])),
    "invalid JSON": {
        "in an item": item(CONTENT.json, 1, varstring("{")),
        "in an embed": item(CONTENT.embed, varstring("{")),
        "in a format": item(CONTENT.format, varstring("bold"), varstring("{")),
        "in a state": state("{\"user\":"),
        "none in a state": state(""),
    },
    "deep nesting": {
        "arrays": item(CONTENT.any, 1, Array(DEEP).fill([ANY.array, 1]).flat(), ANY.null),
        "objects": item(CONTENT.any, 1, Array(DEEP).fill([ANY.object, 1, 1, 0x6b]).flat(), ANY.null),
        "a state": state("[".repeat(DEEP) + "]".repeat(DEEP)),
        "an embed": item(CONTENT.embed, varstring("[".repeat(DEEP) + "]".repeat(DEEP))),
        "a custom message": bytes(MESSAGE.custom, varstring("[".repeat(DEEP) + "]".repeat(DEEP))),
    },
};

/** Every update that is `whole` but for its end. */
function prefixes(whole) {
    return Object.fromEntries(Array.from(whole, (_, length) => [
        `an update after ${length} of ${whole.length} bytes`, update(whole.slice(0, length)),
    ]));
}

/** A valid frame with a few bytes changed, removed or inserted; it may still be valid. */
export function mutated(below) {
    const whole = [update(VALID), stateVector(Y.encodeStateVectorFromUpdate(VALID)), state("{\"user\":{\"name\":\"x\"}}")][below(3)];
    const frame = [...whole];
    for (let i = below(4); i >= 0; i--) {
        const at = below(frame.length);
        const action = below(3);
        if (action === 0) frame[at] = below(256);
        if (action === 1) frame.splice(at, 1);
        if (action === 2) frame.splice(at, 0, below(256));
    }
    return Uint8Array.from(frame);
}
