//! Who is let in, as whom, by every way to present a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::{Access, Auth, Principal, Refusal};
use crate::{Secret, Tokens};

const INBOUND: &str = "agent:tökén";
const ADMIN: &str = "admin-token";

fn tokens(list: &[&str]) -> Tokens {
    let secrets: Vec<Secret> = list.iter().map(|text| Secret::from(*text)).collect();
    Tokens::new(&secrets).unwrap()
}

fn auth(inbound: &[&str], admin: &[&str]) -> Auth {
    Auth::new(tokens(inbound), tokens(admin))
}

/// The three ways to present a token.
fn ways(token: &str) -> [(&'static str, Vec<u8>); 3] {
    let pair = STANDARD.encode(format!("any:{token}"));
    [
        ("Authorization", format!("Bearer {token}").into_bytes()),
        ("X-Api-Key", token.as_bytes().to_vec()),
        ("authorization", format!("basic {pair}").into_bytes()),
    ]
}

fn check(auth: &Auth, access: Access, token: Option<&str>, expected: Result<Principal, Refusal>) {
    let Some(token) = token else {
        assert_eq!(
            auth.check(access, []),
            expected,
            "{access:?} without a token"
        );
        return;
    };
    for (name, value) in ways(token) {
        let result = auth.check(access, [(name, value.as_slice())]);
        assert_eq!(result, expected, "{access:?} with {token} in {name}");
    }
}

#[test]
fn rights_table() {
    use Access::{Calls, Management, Open};
    use Principal::{Admin, Agent, Anonymous};
    use Refusal::{Forbidden, Unauthorized};

    let none = auth(&[], &[]);
    let inbound = auth(&[INBOUND], &[]);
    let both = auth(&[INBOUND], &[ADMIN]);
    let admin = auth(&[], &[ADMIN]);
    let (agent_token, admin_token, wrong) = (Some(INBOUND), Some(ADMIN), Some("wrong"));

    for token in [None, wrong, agent_token, admin_token] {
        for access in [Calls, Management, Open] {
            check(&none, access, token, Ok(Anonymous));
        }
    }
    for token in [None, wrong, admin_token] {
        check(&inbound, Calls, token, Err(Unauthorized));
        check(&inbound, Management, token, Err(Unauthorized));
        check(&inbound, Open, token, Ok(Anonymous));
    }
    for access in [Calls, Management, Open] {
        check(&inbound, access, agent_token, Ok(Agent));
        check(&both, access, admin_token, Ok(Admin));
        check(&admin, access, admin_token, Ok(Admin));
    }
    for token in [None, wrong] {
        check(&both, Calls, token, Err(Unauthorized));
        check(&both, Management, token, Err(Unauthorized));
        check(&both, Open, token, Ok(Anonymous));
    }
    check(&both, Calls, agent_token, Ok(Agent));
    check(&both, Open, agent_token, Ok(Agent));
    check(&both, Management, agent_token, Err(Forbidden));
    for token in [None, wrong, agent_token] {
        check(&admin, Calls, token, Ok(Anonymous));
        check(&admin, Open, token, Ok(Anonymous));
        check(&admin, Management, token, Err(Unauthorized));
    }
}

#[test]
fn defect_11_an_agents_token_does_not_manage_where_admins_have_their_own() {
    let auth = auth(&[INBOUND], &[ADMIN]);
    check(
        &auth,
        Access::Management,
        Some(INBOUND),
        Err(Refusal::Forbidden),
    );
}

#[test]
fn any_token_of_a_list_passes_while_tokens_are_rotated() {
    let auth = auth(&["old", "new"], &["old-admin", "new-admin"]);
    for token in ["old", "new"] {
        check(&auth, Access::Calls, Some(token), Ok(Principal::Agent));
    }
    for token in ["old-admin", "new-admin"] {
        check(&auth, Access::Management, Some(token), Ok(Principal::Admin));
    }
}

#[test]
fn one_valid_credential_among_several_suffices_and_the_highest_counts() {
    let auth = auth(&["agent"], &["admin"]);
    let headers: [(&str, &[u8]); 3] = [
        ("authorization", b"Bearer sk-other"),
        ("x-api-key", b"agent"),
        ("x-api-key", b"zzz"),
    ];
    assert_eq!(auth.check(Access::Calls, headers), Ok(Principal::Agent));
    let headers: [(&str, &[u8]); 2] = [("authorization", b"Bearer agent"), ("x-api-key", b"admin")];
    assert_eq!(
        auth.check(Access::Management, headers),
        Ok(Principal::Admin)
    );
}

#[test]
fn a_token_in_both_lists_is_an_administrators() {
    check(
        &auth(&["same"], &["same"]),
        Access::Management,
        Some("same"),
        Ok(Principal::Admin),
    );
}

#[test]
fn every_wrong_credential_is_the_same_refusal() {
    let auth = auth(&[INBOUND], &[ADMIN]);
    let oversized = vec![b'a'; 64 * 1024];
    let values: [&[u8]; 12] = [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic",
        b"Basic dXNlcjpvdGhlcg==",
        b"Basic \xff\xff",
        b"Bearer agent",
        b"Bearer ' OR 1=1 --",
        b"Bearer \xff\xfe\x00\x80",
        "Bearer t\u{f6}k\u{e9}n".as_bytes(),
        "agent:t\u{f6}k\u{e9}n".as_bytes(),
        &oversized,
    ];
    for value in values {
        for access in [Access::Calls, Access::Management] {
            let result = auth.check(access, [("authorization", value)]);
            assert_eq!(
                result,
                Err(Refusal::Unauthorized),
                "{}",
                value.escape_ascii()
            );
        }
    }
    assert_eq!(
        Refusal::Unauthorized.to_string(),
        "missing or invalid bearer token"
    );
}

#[test]
fn two_authorization_lines_are_refused_everywhere() {
    let headers: [(&str, &[u8]); 3] = [
        ("authorization", b"Bearer a"),
        ("x-api-key", b"a"),
        ("Authorization", b"Bearer a"),
    ];
    for auth in [auth(&[], &[]), auth(&["a"], &[]), auth(&["a"], &["b"])] {
        for access in [Access::Calls, Access::Management, Access::Open] {
            assert_eq!(
                auth.check(access, headers),
                Err(Refusal::RepeatedAuthorization)
            );
        }
    }
}

#[test]
fn credentials_stay_behind_where_they_were_for_the_gateway() {
    assert!(!auth(&[], &[]).keeps_credentials(Principal::Anonymous));
    assert!(auth(&["a"], &[]).keeps_credentials(Principal::Agent));
    // An open path, called without a token of ours.
    assert!(auth(&["a"], &[]).keeps_credentials(Principal::Anonymous));
    // Only management is closed: a caller's own key is for the upstream, an admin token never.
    assert!(!auth(&[], &["b"]).keeps_credentials(Principal::Anonymous));
    assert!(auth(&[], &["b"]).keeps_credentials(Principal::Admin));
}

#[test]
fn debug_shows_no_token() {
    let shown = format!("{:?}", auth(&[INBOUND], &[ADMIN]));
    assert!(
        !shown.contains("agent:") && !shown.contains(ADMIN),
        "{shown}"
    );
}

#[test]
fn names_of_principals() {
    assert_eq!(Principal::Anonymous.name(), None);
    assert_eq!(Principal::Agent.name(), Some("agent"));
    assert_eq!(Principal::Admin.name(), Some("admin"));
}

proptest! {
    /// Any bytes are legal input: a check ends in one of the refusals, never in a panic.
    #[test]
    fn defect_10_any_bytes_are_refused_like_any_wrong_token(
        value in proptest::collection::vec(any::<u8>(), 0..64),
        scheme in prop::sample::select(vec!["", "Bearer ", "Basic ", "bearer\t"]),
        name in prop::sample::select(vec!["authorization", "x-api-key"]),
    ) {
        let auth = auth(&[INBOUND], &[ADMIN]);
        let value = [scheme.as_bytes(), &value].concat();
        let result = auth.check(Access::Calls, [(name, value.as_slice())]);
        prop_assert_eq!(result, Err(Refusal::Unauthorized));
    }

    /// Whatever the token, all three ways present it, and nothing else of the same list does.
    #[test]
    fn a_token_passes_in_every_way_and_alone(
        token in "[^\\s\\p{Cc}]([^\\p{Cc}]{0,20}[^\\s\\p{Cc}])?",
        other in "[a-z]{1,8}",
    ) {
        let auth = auth(&[&token], &[]);
        for (name, value) in ways(&token) {
            let result = auth.check(Access::Calls, [(name, value.as_slice())]);
            prop_assert_eq!(result, Ok(Principal::Agent));
        }
        if other != token {
            for (name, value) in ways(&other) {
                let result = auth.check(Access::Calls, [(name, value.as_slice())]);
                prop_assert_eq!(result, Err(Refusal::Unauthorized));
            }
        }
    }
}
