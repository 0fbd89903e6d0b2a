use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECRET: &str = "a secret of the tests, long enough";
const HOUR: u64 = 3600;

/// Made for these tests with `openssl`.
const RSA: &str = include_str!("keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa.pub.pem");
const EC: &str = include_str!("keys/p256.pem");
const EC_PUBLIC: &str = include_str!("keys/p256.pub.pem");
const ED: &str = include_str!("keys/ed25519.pem");
const ED_PUBLIC: &str = include_str!("keys/ed25519.pub.pem");

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn tokens(config: &str) -> Tokens {
    Tokens::new(&toml::from_str(config).unwrap()).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn with_secret(more: &str) -> Tokens {
    tokens(&format!("secret = '{SECRET}'\n{more}"))
}

fn with_public(pem: &str) -> Tokens {
    tokens(&format!("public_key = '''\n{pem}'''"))
}

/// `claims` over a token that is good.
fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": now() + HOUR });
    for (claim, value) in more.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(claim),
            value => claims.as_object_mut().unwrap().insert(claim.clone(), value.clone()),
        };
    }
    claims
}

fn signed(head: &Header, more: Value, key: &EncodingKey) -> String {
    encode(head, &claims(more), key).unwrap()
}

fn hs256(more: Value) -> String {
    signed(&Header::new(Algorithm::HS256), more, &EncodingKey::from_secret(SECRET.as_bytes()))
}

async fn check(tokens: &Tokens, token: &str) -> Result<String, Refusal> {
    tokens.check(token).await.map(|identity| identity.name.unwrap().to_string())
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_good_token_names_its_user_and_its_end() {
    let end = now() + HOUR;
    let identity =
        with_secret("").check(&hs256(json!({ "iat": 1, "exp": end, "roles": ["a"], "jti": "7" }))).await.unwrap();
    assert_eq!(identity.name.as_deref(), Some("ann"));
    assert_eq!(identity.issued, Some(UNIX_EPOCH + Duration::from_secs(1)));
    assert_eq!(identity.expires, Some(UNIX_EPOCH + Duration::from_secs(end + 30)), "with the leeway");
    assert_eq!(identity.token.as_deref(), Some("7"));
    assert_eq!(identity.claims.unwrap()["roles"][0], "a");
    let token = hs256(json!({}));
    assert_eq!(with_secret("").check(&token).await.unwrap().token, Some(fingerprint(&token)));
    assert_eq!(check(&with_secret(""), &hs256(json!({ "sub": 12 }))).await.unwrap(), "12");
    assert_eq!(check(&with_secret("user_claim = 'name'"), &hs256(json!({ "name": "ben" }))).await.unwrap(), "ben");
    let kept = with_secret("claims = ['roles']").check(&hs256(json!({ "roles": 1, "mail": "x" }))).await.unwrap();
    assert_eq!(*kept.claims.unwrap(), json!({ "roles": 1 }));
}

#[tokio::test]
async fn every_algorithm_is_checked_with_its_own_kind_of_key() {
    let rsa = || EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let signing = [
        (EncodingKey::from_secret(SECRET.as_bytes()), with_secret(""), &["HS256", "HS384", "HS512"][..]),
        (rsa(), with_public(RSA_PUBLIC), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (EncodingKey::from_ec_pem(EC.as_bytes()).unwrap(), with_public(EC_PUBLIC), &["ES256"]),
        (EncodingKey::from_ed_pem(ED.as_bytes()).unwrap(), with_public(ED_PUBLIC), &["EdDSA"]),
    ];
    for (key, _, algorithms) in &signing {
        for algorithm in *algorithms {
            let token = signed(&Header::new(algorithm.parse().unwrap()), json!({}), key);
            for (_, tokens, fitting) in &signing {
                let expected = if fitting == algorithms { Ok("ann".to_owned()) } else { Err(Refusal::Token) };
                assert_eq!(check(tokens, &token).await, expected, "{algorithm} with a key for {fitting:?}");
            }
        }
    }
    let only = tokens(&format!("algorithms = ['PS256']\npublic_key = '''\n{RSA_PUBLIC}'''"));
    assert_eq!(check(&only, &signed(&Header::new(Algorithm::RS256), json!({}), &rsa())).await, Err(Refusal::Token));
    assert!(check(&only, &signed(&Header::new(Algorithm::PS256), json!({}), &rsa())).await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused() {
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let other = EncodingKey::from_secret(b"another secret, as long as the first");
    let head = Header::new(Algorithm::HS256);
    let good = hs256(json!({}));
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = unsigned.split_once('.').unwrap();
    let none = |alg: &str| format!("{}.{payload}.", base64(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#)));
    let with_none_and_signature = format!("{}{signature}", none("none"));
    let critical = signed(&Header { crit: Some(vec!["b64".into()]), ..head.clone() }, json!({}), &secret);
    let forged = format!(
        "{}.{}.{signature}",
        unsigned.split_once('.').unwrap().0,
        base64(&claims(json!({"sub": "ben"})).to_string())
    );
    let confused = signed(&head, json!({}), &EncodingKey::from_secret(RSA_PUBLIC.as_bytes()));
    let cases = [
        (good.clone(), "", Ok("ann".to_owned())),
        (signed(&head, json!({}), &other), "", Err(Refusal::Token)),
        (forged, "", Err(Refusal::Token)),
        (none("none"), "", Err(Refusal::Token)),
        (none("NONE"), "", Err(Refusal::Token)),
        (none("HS256"), "", Err(Refusal::Token)),
        (with_none_and_signature, "", Err(Refusal::Token)),
        (critical, "", Err(Refusal::Token)),
        (confused.clone(), "", Err(Refusal::Token)),
        (unsigned.to_owned(), "", Err(Refusal::Token)),
        (format!("{unsigned}."), "", Err(Refusal::Token)),
        (format!("{good}x"), "", Err(Refusal::Token)),
        (format!("{good}.x"), "", Err(Refusal::Token)),
        ("..".to_owned(), "", Err(Refusal::Token)),
        ("x".repeat(100_000), "", Err(Refusal::Token)),
        (format!("{}.{}.{}", "e30".repeat(9000), "e30", "e30"), "", Err(Refusal::Token)),
        (hs256(json!({ "exp": now() - 31 })), "", Err(Refusal::Expired)),
        (hs256(json!({ "exp": now() - 10 })), "", Ok("ann".to_owned())),
        (hs256(json!({ "exp": now() - 10 })), "leeway = '0s'", Err(Refusal::Expired)),
        (hs256(json!({ "exp": null })), "", Err(Refusal::Token)),
        (hs256(json!({ "exp": null })), "require_expiry = false", Ok("ann".to_owned())),
        (hs256(json!({ "exp": now() - 100 })), "require_expiry = false", Err(Refusal::Expired)),
        (hs256(json!({ "exp": "soon" })), "", Err(Refusal::Token)),
        (hs256(json!({ "nbf": now() + 100 })), "", Err(Refusal::Early)),
        (hs256(json!({ "nbf": now() + 10 })), "", Ok("ann".to_owned())),
        (hs256(json!({ "sub": null })), "", Err(Refusal::Token)),
        (hs256(json!({ "sub": "" })), "", Err(Refusal::Token)),
        (hs256(json!({ "sub": ["ann"] })), "", Err(Refusal::Token)),
        (hs256(json!({ "iss": "a" })), "issuer = ['a', 'b']", Ok("ann".to_owned())),
        (hs256(json!({ "iss": "c" })), "issuer = ['a', 'b']", Err(Refusal::Token)),
        (hs256(json!({})), "issuer = ['a']", Err(Refusal::Token)),
        (hs256(json!({ "aud": "a" })), "audience = ['a']", Ok("ann".to_owned())),
        (hs256(json!({ "aud": ["x", "a"] })), "audience = ['a']", Ok("ann".to_owned())),
        (hs256(json!({ "aud": "b" })), "audience = ['a']", Err(Refusal::Token)),
        (hs256(json!({})), "audience = ['a']", Err(Refusal::Token)),
        (hs256(json!({ "aud": "b" })), "", Ok("ann".to_owned())),
    ];
    for (token, config, expected) in cases {
        assert_eq!(check(&with_secret(config), &token).await, expected, "{token:.200} with {config:?}");
    }
    // A public key is known to everybody, so it must never serve as the secret of HMAC.
    assert_eq!(check(&with_public(RSA_PUBLIC), &confused).await, Err(Refusal::Token));
}

/// The public half of the RSA key as a set, under a name.
fn set(id: Option<&str>) -> JwkSet {
    let key = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
    jwk.common.key_id = id.map(Into::into);
    JwkSet { keys: vec![jwk] }
}

#[tokio::test]
async fn the_key_that_a_token_names_must_be_in_the_set() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let key = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let token = |kid: Option<&str>| {
        signed(&Header { kid: kid.map(Into::into), ..Header::new(Algorithm::RS256) }, json!({}), &key)
    };
    for (in_set, named, is_good) in [
        (Some("one"), Some("one"), true),
        (Some("one"), Some("two"), false),
        (Some("one"), None, true),
        (None, Some("one"), true),
        (None, None, true),
    ] {
        std::fs::write(&path, serde_json::to_string(&set(in_set)).unwrap()).unwrap();
        let tokens = tokens(&format!("jwks_file = '{}'", path.display()));
        assert_eq!(check(&tokens, &token(named)).await.is_ok(), is_good, "{in_set:?} {named:?}");
    }
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    let config: Jwt = toml::from_str("jwks_url = 'https://example.com/'").unwrap();
    let mut for_encryption = set(None);
    for_encryption.keys[0].common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Encryption);
    for (text, reason) in [
        ("".to_owned(), "no JSON Web Key Set"),
        ("{}".to_owned(), "no JSON Web Key Set"),
        (r#"{"keys":[]}"#.to_owned(), "no key that could be used"),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"}]}"#.to_owned(), "no key that could be used"),
        (serde_json::to_string(&for_encryption).unwrap(), "no key that could be used"),
    ] {
        let error = Keys::of_set(text.as_bytes(), &config).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_key_that_cannot_be_read_is_named_and_not_shown() {
    for (config, reason) in [
        ("public_key = 'no-pem-at-all'", "public_key: is no public key"),
        ("secret = '!!!!!!!!!!!!!!!!'\nsecret_encoding = 'base64'", "secret: is not Base64"),
        ("secret = '0123456789abcdef'\nalgorithms = ['RS256']", "algorithms: none of them fits"),
        ("secret = '0123456789abcdef'\nalgorithms = ['none']", "algorithms: \"none\" is unknown"),
        ("jwks_file = '/nowhere/keys.json'", "jwks_file: /nowhere/keys.json"),
    ] {
        let error = Tokens::new(&toml::from_str(config).unwrap()).unwrap_err();
        assert!(error.contains(reason), "{config}: {error}");
        assert!(!error.contains("!!!!") && !error.contains("no-pem"), "{error}");
    }
}

#[tokio::test]
async fn a_secret_may_be_written_in_base64() {
    use base64::Engine as _;
    let octets = [0, 255, 254, 253, 63, 62, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    let token = signed(&Header::new(Algorithm::HS256), json!({}), &EncodingKey::from_secret(&octets));
    for engine in [base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE_NO_PAD] {
        let config = format!("secret = '{}'\nsecret_encoding = 'base64'", engine.encode(octets));
        assert!(check(&tokens(&config), &token).await.is_ok(), "{config}");
    }
}

proptest! {
    #[test]
    fn nothing_that_looks_like_a_token_panics_or_is_accepted(token in "[A-Za-z0-9_=-]{0,80}(\\.[A-Za-z0-9_=-]{0,80}){0,4}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(with_secret("").check(&token)).is_err());
    }

    #[test]
    fn a_token_with_one_other_octet_is_refused(at in any::<prop::sample::Index>(), octet in 33_u8..127) {
        let token = hs256(json!({}));
        let mut changed = token.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != octet);
        changed[at] = octet;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(with_secret("").check(std::str::from_utf8(&changed).unwrap()));
        // The last letter has bits that say nothing.
        prop_assert!(found.is_err() || at == changed.len() - 1);
    }
}
