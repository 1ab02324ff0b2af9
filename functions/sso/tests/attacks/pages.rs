//! Tests the error pages that agents see (case R91 of the attack register). The visible text is for agents. The details
//! for administrators are collapsed at first.

use flexgate_test_support::{Browser, Reply};

use crate::{at_callback, fresh, leaver, process_with, with_parameter};

const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// Returns two parts of the page: the part that a person sees before expanding the details, and the details.
fn parts(reply: &Reply) -> (&str, &str) {
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    let body = reply.text.split_once("</style>").unwrap().1;
    body.split_once("<details>").unwrap()
}

/// Asserts that the page has this title and this attribute `data-tone`, and that the code is only in the details.
fn assert_page(reply: &Reply, title: &str, tone: &str, code: &str) {
    let (seen, details) = parts(reply);
    assert!(seen.contains(&format!("<h1 class=\"title\">{title}</h1>")), "{seen}");
    assert!(seen.contains(&format!("data-tone=\"{tone}\"")), "{seen}");
    assert!(
        details.contains(&format!("<dd>{code}</dd>")) && details.contains(reply.header("x-request-id")),
        "{details}"
    );
    for word in ["FLEXGATE", "Flexgate", "profile", code, reply.header("x-request-id")] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

#[tokio::test]
async fn r91_a_wrong_address_names_settings_to_administrators_only() {
    let (_world, mut browser) = fresh().await;
    browser.accept(HTML);
    let reply = browser.get("/sso/unheard-of/login").await;
    assert_page(&reply, "You cannot sign in at this address", "warn", "profile_unknown");
    assert!(parts(&reply).1.contains("FLEXGATE_SSO_PROFILES"), "{}", reply.text);
}

#[tokio::test]
async fn r91_an_expired_sign_in_is_no_alarm() {
    let (_world, mut browser, callback) = at_callback().await;
    browser.cookies.clear();
    browser.accept(HTML);
    let reply = browser.get(&callback).await;
    assert_page(&reply, "Please sign in again", "calm", "login_invalid");
    assert!(!reply.text.contains("role=\"alert\""));
}

#[tokio::test]
async fn r91_a_cancelled_sign_in_a_failed_one_and_ended_access_have_different_pages() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login").await;
    let cancelled = browser.authenticate(&world, &authorize, None).await;
    browser.accept(HTML);
    assert_page(&browser.get(&cancelled).await, "You are not signed in", "calm", "login_refused");

    for error in ["temporarily_unavailable", "server_error", "<script>"] {
        let failed = with_parameter(&cancelled, "error", Some(error));
        let reply = browser.get(&failed).await;
        assert_page(&reply, "Your company&#39;s sign-in did not work", "warn", "login_refused");
        assert!(!reply.text.contains(error), "the page reflects the query");
    }

    leaver::leaves(&world, "ada", None).await;
    let reply = browser.sign_in(&world, "ada").await;
    assert_page(&reply, "Your access to Flex has ended", "calm", "login_refused");
}

#[tokio::test]
async fn r91_a_page_has_the_companys_name_logo_and_help_link() {
    let (world, mut plain) = fresh().await;
    plain.accept(HTML);
    let reply = plain.get("/sso/unheard-of/login").await;
    assert!(!reply.text.contains("<img") && !reply.text.contains("Get help"), "{}", reply.text);
    assert!(!reply.header("content-security-policy").contains("img-src"));

    let mut browser = Browser::new(process_with(
        &world,
        &[
            ("FLEXGATE_PAGE_NAME", "Ada & <Sons>"),
            ("FLEXGATE_PAGE_LOGO", "https://cdn.example.com/logo.svg?a=1&b=\"2\""),
            ("FLEXGATE_PAGE_HELP", "mailto:help@example.com?subject=Flex&body=Hello"),
        ],
    ));
    browser.accept(HTML);
    let reply = browser.get("/sso/default/callback").await;
    let (seen, _) = parts(&reply);
    assert!(seen.contains("<span>Ada &amp; &lt;Sons&gt;</span>"), "{seen}");
    assert!(seen.contains("<img src=\"https://cdn.example.com/logo.svg?a=1&amp;b=%222%22\" alt=\"\">"), "{seen}");
    assert!(seen.contains("<a href=\"mailto:help@example.com?subject=Flex&amp;body=Hello\">Get help</a>"), "{seen}");
    let policy = reply.header("content-security-policy");
    assert!(policy.contains("img-src https://cdn.example.com; "), "{policy}");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}
