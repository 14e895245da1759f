// Random edits on every kind of shared type, drawn from a seeded generator: what an application does to a document.

import * as prng from "lib0/prng";
import * as Y from "yjs";

const WORDS = ["session", "shard", "ünïcödé", "日本語", "log ", "🙂🙃", "cursor\n", "a", " "];
const KEYS = ["title", "size", "nested", "list", "note"];
const NESTING_MAX = 3;

/** A generator of edits; the same seed and the same documents give the same edits. */
export class Editor {
    constructor(seed) {
        this.random = prng.create(seed);
    }

    below(bound) { return prng.int32(this.random, 0, bound - 1); }
    oneOf(list) { return list[this.below(list.length)]; }
    chance(percent) { return this.below(100) < percent; }

    /** One transaction with one to three edits of `doc`, each on a shared type of the root. */
    edit(doc) {
        doc.transact(() => {
            const count = this.chance(80) ? 1 : 3;
            for (let i = 0; i < count; i++) {
                const kind = this.oneOf(["text", "map", "array", "xml"]);
                if (kind === "text") this.text(doc.getText("text"));
                if (kind === "map") this.map(doc.getMap("map"), 0);
                if (kind === "array") this.array(doc.getArray("array"), 0);
                if (kind === "xml") this.xml(doc.getXmlFragment("xml"), 0);
            }
        });
    }

    text(text) {
        const [at, end] = this.span(text);
        const length = end - at;
        const action = this.below(10);
        if (action < 6) text.insert(at, this.oneOf(WORDS), this.chance(20) ? { bold: true } : undefined);
        else if (action < 8) text.delete(at, length);
        else if (action < 9) text.format(at, length, { [this.oneOf(["bold", "italic"])]: this.oneOf([true, null]) });
        else text.insertEmbed(at, { image: this.below(1000) });
    }

    /** Two places in `text`, in order, up to six characters apart; not inside a surrogate pair, as no editor would. */
    span(text) {
        const units = text.toDelta().flatMap(({ insert }) => (typeof insert === "string" ? insert.split("") : ["embed"]));
        const whole = at => (/^[\udc00-\udfff]$/.test(units[at]) ? at - 1 : at);
        const at = this.below(units.length + 1);
        return [whole(at), whole(Math.min(at + 1 + this.below(6), units.length))];
    }

    map(map, depth) {
        const key = this.oneOf(KEYS);
        if (this.chance(20)) map.delete(key);
        else if (map.get(key) instanceof Y.AbstractType && this.chance(70)) this.nested(map.get(key), depth + 1);
        else map.set(key, this.value(depth));
    }

    array(array, depth) {
        const at = this.below(array.length + 1);
        const there = array.get(at);
        if (there !== undefined && this.chance(30)) array.delete(at, Math.min(1 + this.below(3), array.length - at));
        else if (there instanceof Y.AbstractType && this.chance(60)) this.nested(there, depth + 1);
        else array.insert(at, [this.value(depth), this.value(depth)].slice(this.below(2)));
    }

    xml(parent, depth) {
        const at = this.below(parent.length + 1);
        const there = at < parent.length ? parent.get(at) : undefined;
        if (there !== undefined && this.chance(25)) parent.delete(at, 1);
        else if (there instanceof Y.XmlText && this.chance(60)) this.text(there);
        else if (there instanceof Y.XmlElement && this.chance(60)) this.element(there, depth + 1);
        else parent.insert(at, [this.chance(50) ? new Y.XmlText(this.oneOf(WORDS)) : new Y.XmlElement("p")]);
    }

    element(element, depth) {
        if (this.chance(40)) element.setAttribute(this.oneOf(["class", "id"]), this.oneOf(WORDS));
        else if (this.chance(20)) element.removeAttribute("class");
        else if (depth < NESTING_MAX) this.xml(element, depth);
    }

    nested(type, depth) {
        if (type instanceof Y.Text) this.text(type);
        else if (type instanceof Y.Map) this.map(type, depth);
        else if (type instanceof Y.Array) this.array(type, depth);
    }

    value(depth) {
        const kinds = depth < NESTING_MAX ? 9 : 6;
        switch (this.below(kinds)) {
            case 0: return this.below(1_000_000);
            case 1: return this.oneOf(WORDS);
            case 2: return this.oneOf([null, true, false, -1, 0.5, 2 ** 40, -(2 ** 31)]);
            case 3: return { a: [1, { b: this.oneOf(WORDS) }], n: null };
            case 4: return new Uint8Array([0, 255, this.below(256)]);
            case 5: return [this.below(10), [], {}];
            case 6: return new Y.Map([["made", this.below(1000)]]);
            case 7: return Y.Array.from([this.below(1000), this.oneOf(WORDS)]);
            default: return new Y.Text(this.oneOf(WORDS));
        }
    }
}

/** Types one character at a time, mostly where it typed last, with a backspace now and then: one transaction each. */
export class Typist {
    constructor(seed, text) {
        this.random = prng.create(seed);
        this.text = text;
        this.at = 0;
    }

    type() {
        const dice = prng.int32(this.random, 0, 999);
        if (dice < 5) this.at = prng.int32(this.random, 0, this.text.length);
        if (dice < 120 && this.at > 0) this.text.delete(--this.at, 1);
        else this.text.insert(this.at++, String.fromCharCode(97 + (dice % 26)));
    }
}
