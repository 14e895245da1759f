//! What real clients and the original server said to each other, as it was on the wire: transcript 03
//! of specs: rljson. Packets begin behind Engine.IO's `4`.

use serde_json::{Value, json};

use super::harness::{Name, Shard};
use super::rpc::shard;

const ROOT_ROW: &str = r#"{"sharedTree":{"_type":"trees","_data":[{"id":".","isParent":true,"meta":{"name":".","type":"directory","relativePath":".","_hash":"gJimCXxx6iZqkVdiyq7Go2"},"children":["HLUiCe2gWwMJr6qAmuSRQd"],"_hash":"DU1vvZvjj__ZQot5XvxH53"}],"_hash":"BNkeCuFvX5U9_OfgWfPlvA"}}"#;
const FILE_ROW: &str = r#"{"sharedTree":{"_type":"trees","_data":[{"id":"f.txt","isParent":false,"meta":{"name":"f.txt","type":"file","relativePath":"f.txt","size":11,"mtime":1795175134708,"blobId":"pn1fRlQlFPUtZYST_JQFgp","_hash":"hd2ailia4KBdPx7d62h0pa"},"_hash":"HLUiCe2gWwMJr6qAmuSRQd"}],"_hash":"gG2OGfbMz7_Co0f1dFBJNo"}}"#;
const BLOB: &str = r#"{"content":{"_placeholder":true,"num":0},"properties":{"blobId":"pn1fRlQlFPUtZYST_JQFgp","size":11,"createdAt":"2026-11-20T11:45:34.714Z"}}"#;

/// What the owner is asked, answered with what it answered then.
fn answer_as_recorded(shard: &mut Shard, owner: Name) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        let requests = shard.asked(owner);
        if requests.is_empty() {
            return asked;
        }
        for request in requests {
            let text = json!([request.name, request.args[0]]).to_string();
            let ack = request.ack;
            match &*text {
                r#"["readRows",{"table":"sharedTree","where":{"_hash":"DU1vvZvjj__ZQot5XvxH53"}}]"# =>
                {
                    shard.send(owner, &format!("3{ack}[{ROOT_ROW},null]"), &[]);
                }
                r#"["readRows",{"table":"sharedTree","where":{"_hash":"HLUiCe2gWwMJr6qAmuSRQd"}}]"# =>
                {
                    shard.send(owner, &format!("3{ack}[{FILE_ROW},null]"), &[]);
                }
                r#"["getBlob","pn1fRlQlFPUtZYST_JQFgp"]"# => {
                    shard.send(owner, &format!("61-{ack}[null,{BLOB}]"), &[b"version two"]);
                }
                other => panic!("{other}"),
            }
            asked.push(text);
        }
    }
}

#[test]
fn a_change_reaches_the_other_client_as_it_did_with_the_original() {
    let mut shard = shard();
    let [a, b] = [(); 2].map(|()| shard.connect());
    shard.send(a, r#"20["rawTableCfgs"]"#, &[]);
    assert_eq!(shard.answer(a, 0).unwrap(), [json!([]), Value::Null]);
    let said = r#"2["/sharedTree",{"o":"1795175130949:oI9k","r":"DU1vvZvjj__ZQot5XvxH53"}]"#;
    shard.send(a, said, &[]);
    let (name, mut payload) = shard.events(b).remove(0);
    let origin = payload.as_object_mut().unwrap().remove("__origin").unwrap();
    assert!(origin.as_str().unwrap().starts_with("client_"));
    let expected = json!({ "o": "1795175130949:oI9k", "r": "DU1vvZvjj__ZQot5XvxH53" });
    assert_eq!((&*name, payload), ("/sharedTree", expected));
    assert_eq!(answer_as_recorded(&mut shard, a).len(), 3, "each once, before anybody asks");

    let root =
        r#"22["readRows",{"table":"sharedTree","where":{"_hash":"DU1vvZvjj__ZQot5XvxH53"}}]"#;
    shard.send(b, root, &[]);
    let expected: Value = serde_json::from_str(ROOT_ROW).unwrap();
    assert_eq!(shard.answer(b, 2).unwrap(), [expected, Value::Null]);
    let file =
        r#"24["readRows",{"table":"sharedTree","where":{"_hash":"HLUiCe2gWwMJr6qAmuSRQd"}}]"#;
    shard.send(b, file, &[]);
    let expected: Value = serde_json::from_str(FILE_ROW).unwrap();
    assert_eq!(shard.answer(b, 4).unwrap(), [expected, Value::Null]);
    shard.send(b, r#"25["getBlob","pn1fRlQlFPUtZYST_JQFgp",null]"#, &[]);
    let expected: Value = serde_json::from_str(BLOB).unwrap();
    let (answer, attachments) = shard.whole_answer(b, 5).unwrap();
    assert_eq!((answer, attachments), (vec![Value::Null, expected], vec![b"version two".to_vec()]));
    assert_eq!(shard.asked(a), []);
}
