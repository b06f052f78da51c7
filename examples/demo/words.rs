//! What the demo says when it is up.

use crate::{Demo, EMAIL, ORGANIZATION};

pub(crate) fn instructions(demo: &Demo) -> String {
    let Demo { gateway, admin, application, .. } = demo;
    let session = demo.emulator.session(EMAIL).organization(ORGANIZATION).mint();
    format!(
        r#"The gateway listens on http://{gateway}. Behind it is a sample application, http://{application}.

Allowed: {EMAIL} has a session at Stytch, and the application is told whose it is.

    curl --cookie 'stytch_session_jwt={jwt}' http://{gateway}/reports

In a browser: open http://{gateway}/reports and sign in as {EMAIL}. The code is at {emulator}/emulator/
What she may do differs with the organization she chooses: http://{gateway}/admin/ is open to her in Acme alone.
To choose another one, or to sign out, open http://{gateway}/_stytch/session

Refused: nobody is signed in.

    curl -i http://{gateway}/reports

Refused: nobody is signed in, whatever the client says about itself.

    curl -i -H 'X-Stytch-Member-Id: member-of-my-own-making' http://{gateway}/reports

Public: this route asks for nobody, and a claim like that does not get through either.

    curl -H 'Remote-User: {EMAIL}' http://{gateway}/public/

Another session, of whoever {emulator}/emulator/world knows:

    curl -H 'Content-Type: application/json' -d '{{"email":"ben@acme.example","organization":"acme"}}' {emulator}/emulator/sessions

Why a request passes or not, step by step; the settings are those of this gateway:

    cargo run -q --release -- explain -c {settings} http://{gateway}/admin/
    cargo run -q --release -- routes -c {settings}

Whether the gateway is ready, and what it counts:

    curl http://{admin}/readyz
    curl http://{admin}/metrics

Ctrl-C stops it. Here is its access log, one line for each request:
"#,
        jwt = session.session_jwt,
        emulator = demo.emulator.url(),
        settings = demo.settings.display(),
    )
}
