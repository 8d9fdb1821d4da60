use onrecord_proof::{Kind, Record, field};

use super::*;

pub(super) fn told(ask: Ask, body: &str) -> Told {
    Told { ask, body: body.as_bytes().to_vec() }
}

/// The body of a transcript: what comes after the head, without chunks.
pub(super) fn transcript(path: &str) -> Told {
    let file = |end: &str| format!("{}/testdata/{path}.{end}", env!("CARGO_MANIFEST_DIR"));
    let request = std::fs::read_to_string(file("req")).unwrap();
    let response = std::fs::read(file("resp")).unwrap();
    let split = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let ask = Ask::get(request.split(' ').nth(1).unwrap());
    let head = String::from_utf8_lossy(&response[..split]).to_ascii_lowercase();
    let body = &response[split..];
    Told { ask, body: if head.contains("transfer-encoding: chunked") { dechunked(body) } else { body.to_vec() } }
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let len = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..][..len]);
        body = &body[end + 2 + len + 2..];
    }
}

/// The facts of the setups, without the long ones.
fn facts(setups: &[Setup]) -> Vec<String> {
    let line = |setup: &Setup| {
        let mut record = Record::new(uuid::Uuid::nil(), Kind::Config, 0, [0; 32]);
        setup.record(&mut record);
        let short = FACTS.iter().filter(|fact| !["text", "sampling"].iter().any(|long| fact.name.ends_with(long)));
        let known = short.filter_map(|fact| Some(format!("{}={}", fact.name, shown(record.get(fact)?))));
        known.collect::<Vec<_>>().join(" ").replace("onrecord.", "").replace("gen_ai.", "")
    };
    setups.iter().map(line).collect()
}

fn shown(value: &onrecord_proof::Value) -> String {
    use onrecord_proof::Value as V;
    match value {
        V::Text(text) => text.clone(),
        V::Int(number) => number.to_string(),
        V::Bytes(bytes) => format!("{:08x}", u32::from_be_bytes(bytes[..4].try_into().unwrap())),
        V::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

#[test]
fn llama_server() {
    let all = ["props", "models", "lora_adapters"].map(|case| transcript(&format!("serving/llama-server/{case}")));
    assert_eq!(Server::detect(&all[0]), Some(Server::LlamaCpp));
    assert_eq!(all.each_ref().map(|told| told.ask.clone()).to_vec(), Server::LlamaCpp.asks());
    let setups = Server::LlamaCpp.setups(&all, &[]);
    assert_eq!(
        facts(&setups),
        ["provider.name=llama.cpp server.build=b11434-sdist model.name=tiny-pydoc model.path=model/model.gguf \
          model.parameters=1926560 model.quantization=F16 model.context_length=2048 chat_template.sha256=9275b1d3"]
    );
    let sampling = Sampling::of(setups[0].sampling.as_ref().unwrap());
    let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
    record.set(&field::TOP_P, 0.5);
    record_effective(&mut record, &sampling);
    let used = |field| record.get(field).and_then(onrecord_proof::Value::as_float);
    assert_eq!(used(&field::USED_TEMPERATURE), Some(0.8));
    assert_eq!(used(&field::USED_TOP_P), Some(0.5));
    assert_eq!(used(&field::USED_MIN_P), Some(0.05));
}

#[test]
fn what_the_server_reports_goes_before_what_was_asked_for() {
    let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
    record.set(&field::TEMPERATURE, 3.0);
    record.set(&field::SAMPLING, br#"{"temperature":2.0,"min_p":0.05000000074505806}"#.to_vec());
    record_effective(&mut record, &Sampling::default());
    assert_eq!(record.get(&field::USED_TEMPERATURE), Some(&2.0.into()));
    assert_eq!(record.get(&field::USED_MIN_P), Some(&0.05.into()));
    assert_eq!(record.get(&field::USED_TOP_P), None);
}

#[test]
fn a_router_of_llama_servers_has_a_setup_for_each_model_that_is_loaded() {
    let first = ["props", "models_loaded"].map(|case| transcript(&format!("serving/llama-server-router/{case}")));
    let asks = Server::LlamaCpp.more(&first, &[]);
    assert_eq!(asks, [Ask::get("/props?model=tiny-a&autoload=false")]);
    let of_model = Told { ask: asks[0].clone(), ..transcript("serving/llama-server-router/props_model") };
    let all: Vec<_> = first.into_iter().chain([of_model]).collect();
    let setups = Server::LlamaCpp.setups(&all, &[]);
    assert_eq!((setups.len(), setups[0].model.as_str(), setups[0].is_only), (1, "tiny-a", false));
    assert!(setups[0].command.contains(&"--ctx-size".to_owned()), "{:?}", setups[0].command);
    assert_eq!(setups[0].told, all, "as they came");
}

#[test]
fn a_token_in_the_command_line_of_a_routed_server_is_not_kept() {
    let mut all =
        ["props", "models_loaded"].map(|case| transcript(&format!("serving/llama-server-router/{case}"))).to_vec();
    let props = Ask::get("/props?model=tiny-a&autoload=false");
    all.push(Told { ask: props, ..transcript("serving/llama-server-router/props_model") });
    let models = String::from_utf8(all[1].body.clone()).unwrap();
    all[1].body = models
        .replace(r#""--offline""#, r#""--hf-token","hf_secret""#)
        .replace("offline = 1", "hf-token = hf_secret")
        .into();
    let setup = Server::LlamaCpp.setups(&all, &[]).remove(0);
    assert!(setup.command.contains(&"--hf-token".to_owned()), "{:?}", setup.command);
    assert!(!format!("{:?}", setup.command).contains("hf_secret"), "{:?}", setup.command);
    assert!(setup.told.iter().all(|told| !String::from_utf8_lossy(&told.body).contains("hf_secret")));
}

#[test]
fn vllm() {
    let all = ["version", "models"].map(|case| transcript(&format!("serving/vllm/{case}")));
    assert_eq!(Server::detect(&all[0]), Some(Server::Vllm));
    let setups = Server::Vllm.setups(&all, &[]);
    let expect =
        "provider.name=vllm server.build=0.32.0 model.name=tiny-pydoc model.path=model/hf model.context_length=2048";
    assert_eq!(facts(&setups), [expect]);
}

#[test]
fn an_adapter_of_vllm_is_a_model_with_its_parent() {
    let models = r#"{"data":[{"id":"base","root":"org/base","parent":null,"max_model_len":4096},
        {"id":"sql","root":"/adapters/sql","parent":"base","max_model_len":null}]}"#;
    let setups = Server::Vllm.setups(&[told(Ask::get("/v1/models"), models)], &[]);
    let adapter =
        "provider.name=vllm model.name=sql model.path=org/base model.context_length=4096 adapters=[/adapters/sql]";
    assert_eq!(facts(&setups)[1], adapter);
}

// The following three are bodies after the servers' documentation and sources.

#[test]
fn ollama() {
    let first = [
        told(Ask::get("/api/version"), r#"{"version":"0.12.3"}"#),
        told(
            Ask::get("/api/ps"),
            r#"{"models":[{"name":"qwen3:0.6b","model":"qwen3:0.6b","size":1,"digest":"7df6","expires_at":"2026-11-24T15:00:00Z","size_vram":0,"context_length":4096}]}"#,
        ),
        told(
            Ask::get("/api/tags"),
            r#"{"models":[{"name":"qwen3:0.6b","digest":"7df6"},{"name":"gemma:latest","digest":"a1b2"},{"name":"other:1b","digest":"c"}]}"#,
        ),
    ];
    assert_eq!(Server::detect(&first[0]), Some(Server::Ollama));
    let called = ["gemma".to_owned()];
    let asks = Server::Ollama.more(&first, &called);
    assert_eq!(
        asks.iter().map(Ask::name).collect::<Vec<_>>(),
        [r#"POST /api/show {"model":"qwen3:0.6b"}"#, r#"POST /api/show {"model":"gemma:latest"}"#]
    );
    let shown = r##"{"modelfile":"# made by\nFROM /models/blobs/sha256-7f4\nADAPTER /lora.gguf\nTEMPLATE x","template":"{{ .Prompt }}",
        "parameters":"temperature    0.6\nstop           \"<|im_start|>\"\nstop           \"<|im_end|>\"\ntop_k 20",
        "details":{"family":"qwen3","quantization_level":"Q4_K_M"},
        "model_info":{"general.architecture":"qwen3","general.parameter_count":751632384,"qwen3.context_length":40960}}"##;
    let all: Vec<_> = first.into_iter().chain(asks.into_iter().map(|ask| told(ask, shown))).collect();
    let setups = Server::Ollama.setups(&all, &called);
    assert_eq!(
        facts(&setups)[0],
        "provider.name=ollama server.build=0.12.3 model.name=qwen3:0.6b model.revision=7df6 \
        model.path=/models/blobs/sha256-7f4 model.architecture=qwen3 model.parameters=751632384 \
        model.quantization=Q4_K_M model.context_length=4096 chat_template.sha256=b507b9c2 adapters=[/lora.gguf]"
    );
    assert_eq!(
        setups[0].sampling.as_deref(),
        Some(r#"{"temperature":0.6,"stop":["<|im_start|>","<|im_end|>"],"top_k":20}"#)
    );
    assert_eq!((setups[1].aliases.as_slice(), setups[1].context_length), (["gemma".to_owned()].as_slice(), None));
    assert_eq!(setups[1].told.len(), 4);
}

#[test]
fn text_generation_inference() {
    let info = told(
        Ask::get("/info"),
        r#"{"model_id":"org/model","model_sha":"abc","model_dtype":"float16","max_total_tokens":2048,"version":"3.3.6","sha":"9f8e"}"#,
    );
    assert_eq!(Server::detect(&info), Some(Server::Tgi));
    let expect = "provider.name=tgi server.build=3.3.6 (9f8e) model.name=org/model model.revision=abc model.quantization=float16 model.context_length=2048";
    assert_eq!(facts(&Server::Tgi.setups(&[info], &[])), [expect]);
}

#[test]
fn sglang() {
    let model = r#"{"model_path":"qwen/qwen2.5-0.5b-instruct","tokenizer_path":"qwen/qwen2.5-0.5b-instruct","is_generation":true,
        "preferred_sampling_params":"{\"temperature\": 0.7}","weight_version":"default","model_type":"qwen2"}"#;
    let server = r#"{"model_path":"qwen/qwen2.5-0.5b-instruct","served_model_name":"qwen","quantization":null,"dtype":"bfloat16",
        "context_length":null,"max_req_input_len":32762,"revision":"main","api_key":"sk-secret","version":"0.5.9",
        "internal_states":[{"api_key":"sk-secret","admin_api_key":"sk-secret"}]}"#;
    let models = r#"{"object":"list","data":[{"id":"qwen","root":"qwen","parent":null,"max_model_len":32768},
        {"id":"sql","root":"/loras/sql","parent":"qwen"}]}"#;
    let all = [("/get_model_info", model), ("/get_server_info", server), ("/v1/models", models)];
    let all = all.map(|(path, body)| told(Ask::get(path), body));
    assert_eq!(Server::detect(&all[0]), Some(Server::Sglang));
    let setups = Server::Sglang.setups(&all, &[]);
    let of = "provider.name=sglang server.build=0.5.9 model.name=";
    let rest = "model.revision=main model.path=qwen/qwen2.5-0.5b-instruct model.architecture=qwen2 model.quantization=bfloat16 model.context_length=32768";
    assert_eq!(facts(&setups), [format!("{of}qwen {rest}"), format!("{of}sql {rest} adapters=[/loras/sql]")]);
    assert_eq!(setups[0].sampling.as_deref(), Some(r#"{"temperature": 0.7}"#));
    assert_eq!(
        (setups[0].aliases.as_slice(), setups[0].is_only),
        (["qwen/qwen2.5-0.5b-instruct".to_owned()].as_slice(), false)
    );
    let kept = &setups[0].told;
    assert!(kept.iter().all(|told| !String::from_utf8_lossy(&told.body).contains("sk-secret")), "{kept:?}");
    assert!(String::from_utf8_lossy(&kept[1].body).contains(r#""max_req_input_len":32762"#));
    assert_eq!((&kept[0], &kept[2]), (&all[0], &all[2]));
    let alone = Server::Sglang.setups(&all[..1], &[]);
    assert_eq!((alone.len(), alone[0].model.as_str(), alone[0].is_only), (1, "qwen/qwen2.5-0.5b-instruct", true));
}

#[test]
fn lm_studio() {
    let models = r#"{"data":[{"id":"qwen","type":"llm","arch":"qwen2","quantization":"Q4_K_M","state":"loaded","max_context_length":32768,"loaded_context_length":4096},
        {"id":"off","state":"not-loaded","max_context_length":8192}]}"#;
    let models = told(Ask::get("/api/v0/models"), models);
    assert_eq!(Server::detect(&models), Some(Server::LmStudio));
    let expect = "provider.name=lmstudio model.name=qwen model.architecture=qwen2 model.quantization=Q4_K_M model.context_length=4096";
    assert_eq!(facts(&Server::LmStudio.setups(std::slice::from_ref(&models), &[])), [expect]);
    assert_eq!(Server::LmStudio.setups(&[models], &["off".into()]).len(), 2);
}

#[test]
fn what_servers_say_to_strangers_is_no_sign() {
    for body in ["", "nonsense", "[]", r#"{"error":"Unexpected endpoint or method. (GET /props)"}"#, "<html>"] {
        for ask in Server::detection() {
            assert_eq!(Server::detect(&told(ask, body)), None, "{body}");
        }
        for server in Server::ALL {
            let all: Vec<_> = server.asks().into_iter().map(|ask| told(ask, body)).collect();
            assert_eq!((server.more(&all, &["m".into()]), server.setups(&all, &["m".into()])), (vec![], vec![]));
        }
    }
}

#[test]
fn the_digest_is_that_of_the_facts() {
    let setup = |context| Setup { context_length: Some(context), ..Setup::new(Server::Vllm, "m") };
    let with_answers = Setup { told: vec![told(Ask::get("/x"), "now")], sha256: Some([1; 32]), ..setup(1) };
    assert_eq!(setup(1).digest(), with_answers.digest());
    assert_ne!(setup(1).digest(), setup(2).digest());
}

#[test]
fn the_header_of_a_gguf_file() {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    file.extend(1_u64.to_le_bytes());
    file.extend(5_u64.to_le_bytes());
    for (key, kind, value) in [
        ("general.architecture", 8_u32, "llama"),
        ("tokenizer.chat_template", 8, "{{ messages }}"),
        ("llama.context_length", 4, ""),
        ("general.file_type", 4, ""),
        ("tokenizer.ggml.tokens", 9, ""),
    ] {
        text(&mut file, key);
        file.extend(kind.to_le_bytes());
        match (key, kind) {
            (_, 8) => text(&mut file, value),
            ("llama.context_length", _) => file.extend(2048_u32.to_le_bytes()),
            (_, 4) => file.extend(15_u32.to_le_bytes()),
            _ => {
                file.extend(8_u32.to_le_bytes());
                file.extend(2_u64.to_le_bytes());
                text(&mut file, "a");
                text(&mut file, "bc");
            }
        }
    }
    text(&mut file, "token_embd.weight");
    file.extend(2_u32.to_le_bytes());
    file.extend([10_u64, 7].map(u64::to_le_bytes).concat());
    file.extend([0; 12]);
    let header = gguf::read(&file[..]).unwrap();
    let expect = gguf::Header {
        architecture: Some("llama".into()),
        name: None,
        parameters: Some(70),
        quantization: Some("Q4_K_M".into()),
        context_length: Some(2048),
        chat_template: Some("{{ messages }}".into()),
    };
    assert_eq!(header, expect);
    for len in 0..file.len() {
        assert!(gguf::read(&file[..len]).is_err(), "{len}");
    }
}
