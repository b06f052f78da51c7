//! A running emulator, to hold and to give orders to.

mod builders;

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

pub use builders::{AppTokenBuilder, M2mTokenBuilder, SessionBuilder, TokenBuilder, WebhookBuilder};

use crate::control::{self, AppTokenOrder, ControlError, M2mOrder, SessionOrder, TokenOrder};
use crate::device::Place;
use crate::fault::Fault;
use crate::journal::{Body, Request};
use crate::keys::SigningKey;
use crate::outbox::Message;
use crate::state::Shared;
use crate::webhook::WebhookOrder;
use crate::world::World;
use crate::{server, totp};

/// A running emulator. It stops when dropped.
///
/// It serves from a thread of its own, so it answers while a test's runtime is busy or blocked, and
/// any number of them run side by side in one process.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use stytch_emulator::{Emulator, World};
///
/// let emulator = Emulator::start(World::built_in()).await?;
/// let session = emulator.session("ana@acme.example").organization("acme").mint();
/// println!("{} accepts {}", emulator.url(), session.session_token);
/// # Ok(())
/// # }
/// ```
pub struct Emulator {
    shared: Shared,
    address: SocketAddr,
    project_id: String,
    secret: String,
    public_token: String,
    /// Dropped to stop the server; nothing is ever sent.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why an emulator could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No key could be made or no thread started.
    #[error("cannot start: {0}")]
    Resources(String),
}

impl Emulator {
    /// Starts an emulator on the loopback interface, at a port of the system's choosing.
    ///
    /// # Errors
    ///
    /// If no port is free or no key can be made.
    pub async fn start(world: World) -> Result<Self, StartError> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), world).await
    }

    /// Starts an emulator at `address`. Anyone who can reach it can sign in as anyone.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on or no key can be made.
    pub async fn bind(address: SocketAddr, world: World) -> Result<Self, StartError> {
        let (project_id, secret) = (world.project_id.clone(), world.secret.clone());
        let public_token = world.public_token.clone();
        let (started, outcome) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("stytch-emulator".into())
            .spawn(move || run(address, world, started, stopped))
            .map_err(|error| StartError::Resources(error.to_string()))?;
        let gone = |_| Err(StartError::Resources("the server's thread ended".into()));
        let (shared, address) = outcome.await.unwrap_or_else(gone)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { shared, address, project_id, secret, public_token, stop, thread })
    }

    /// Where the API is, such as `http://127.0.0.1:4010`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The project's id, which is the user name of the API's Basic credentials.
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// The project's secret, which is their password.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The token that browsers name the project by.
    pub fn public_token(&self) -> &str {
        &self.public_token
    }

    /// Everyone and everything in the project, as `GET /emulator/world` shows it.
    pub fn world(&self) -> Value {
        control::world(&self.shared.lock())
    }

    /// The id of the organization with that slug.
    pub fn organization_id(&self, slug: &str) -> Option<String> {
        self.shared.lock().world.organization(slug).ok().map(|organization| organization.id.clone())
    }

    /// The id of the member of an organization, given by id or slug, with that address.
    pub fn member_id(&self, organization: &str, email: &str) -> Option<String> {
        let world = &self.shared.lock().world;
        let organization = world.organization(organization).ok()?;
        world.member_by_email(&organization.id, email).ok().map(|member| member.id.clone())
    }

    /// The id of the Consumer user with that address.
    pub fn user_id(&self, email: &str) -> Option<String> {
        self.shared.lock().world.user_by_email(email).map(|user| user.id.clone())
    }

    /// Has the next sign-in of a user end their other sessions, as when somebody wins an account back.
    /// A session that comes along does not: it is one of those. False for nobody.
    pub fn reset_sessions_of(&self, email: &str) -> bool {
        let state = &mut *self.shared.lock();
        let id = state.world.user_by_email(email).map(|user| user.id.clone());
        id.is_some_and(|id| state.resets.insert(id))
    }

    /// A session for the user with that address, or for a member once an organization is named.
    pub fn session(&self, email: impl Into<String>) -> SessionBuilder<'_> {
        let order = SessionOrder { email: email.into(), ..SessionOrder::default() };
        SessionBuilder { emulator: self, order }
    }

    /// A token that says exactly `claims`.
    pub fn token(&self, claims: impl Into<Value>) -> TokenBuilder<'_> {
        TokenBuilder { emulator: self, order: TokenOrder { claims: claims.into(), ..TokenOrder::default() } }
    }

    /// An access token for the M2M client with that id.
    pub fn m2m_token(&self, client_id: impl Into<String>) -> M2mTokenBuilder<'_> {
        let order = M2mOrder { client_id: client_id.into(), ..M2mOrder::default() };
        M2mTokenBuilder { emulator: self, order }
    }

    /// An access token for a Connected App that acts for the user with that address, or for a member
    /// once an organization is named.
    pub fn connected_app_token(&self, email: impl Into<String>) -> AppTokenBuilder<'_> {
        let order = AppTokenOrder { email: email.into(), ..AppTokenOrder::default() };
        AppTokenBuilder { emulator: self, order }
    }

    /// What webhooks are signed with: `whsec_` and base64.
    pub fn webhook_secret(&self) -> String {
        self.shared.lock().world.webhook_secret.clone()
    }

    /// What Stytch would tell a webhook endpoint of an event such as `direct.member.update`, about the
    /// member, organization or user with that id.
    pub fn webhook(&self, event: impl Into<String>, id: impl Into<String>) -> WebhookBuilder<'_> {
        let order = WebhookOrder { event: event.into(), id: id.into(), ..WebhookOrder::default() };
        WebhookBuilder { emulator: self, order }
    }

    /// Puts a new signing key to work and returns its id. The old one stays in the key set unless
    /// it is to `retire_now`.
    ///
    /// # Panics
    ///
    /// If the system has no randomness to make a key of.
    pub fn rotate_keys(&self, retire_now: bool) -> String {
        let next = SigningKey::generate().expect("the system has randomness");
        let kid = next.kid.clone();
        control::rotate_keys(&mut self.shared.lock(), next, retire_now);
        kid
    }

    /// The API calls seen so far whose path begins with `prefix`, the oldest first.
    pub fn requests(&self, prefix: &str) -> Vec<Request> {
        self.shared.lock().journal.requests(prefix)
    }

    /// What those calls said, as far as they said anything. Bodies hold secrets: they are to be had
    /// in this process alone, and of the newest calls.
    pub fn bodies(&self, prefix: &str) -> Vec<Body> {
        self.shared.lock().journal.bodies(prefix)
    }

    /// Forgets the calls seen so far.
    pub fn forget_requests(&self) {
        self.shared.lock().journal.forget();
    }

    /// Adds trouble to the trouble there is.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Ends all trouble.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.replace(Vec::new());
    }

    /// What was "sent" to an e-mail address or a phone number, the newest first.
    pub fn outbox(&self, to: &str) -> Vec<Message> {
        self.shared.lock().outbox.messages(Some(to))
    }

    /// What an authenticator app with this secret, in base32, shows at the emulator's time.
    ///
    /// # Panics
    ///
    /// If the secret is not base32.
    pub fn totp_code(&self, secret: &str) -> String {
        totp::code_now(secret, self.shared.lock().now()).expect("the secret is base32")
    }

    /// What Stytch's script would answer in the browser that is known by this visitor id.
    pub fn telemetry_id(&self, visitor_id: &str) -> String {
        self.shared.lock().devices.submit(visitor_id)
    }

    /// Has the member or user with that id been seen with a device for the first time at that time.
    pub fn remember_device(&self, subject: &str, visitor_id: &str, first_seen_at: jiff::Timestamp) {
        self.shared.lock().devices.remember(subject, visitor_id, first_seen_at);
    }

    /// Has everybody who signs in from now on be in that country, as in `"DE"`, and city.
    pub fn move_people(&self, country: &str, city: &str) {
        let place = Place { country: country.into(), city: city.into(), ..Place::default() };
        self.shared.lock().devices.place = place;
    }

    /// Lets the emulator's time run ahead.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.lock().clock.advance(by);
    }

    /// Replaces the project's RBAC policy, `{roles, resources, scopes}` in the API's own shape, for
    /// both verticals. The roles that Stytch reserves are in it whether named or not.
    ///
    /// # Errors
    ///
    /// If it has another shape or a role twice.
    pub fn set_policy(&self, policy: Value) -> Result<(), ControlError> {
        control::set_policy(&mut self.shared.lock(), read(policy)?)
    }

    /// Replaces the roles of an organization's own, given by id or slug: `[{role_id, description,
    /// permissions}]`.
    ///
    /// # Errors
    ///
    /// If there is no such organization or the roles have another shape.
    pub fn set_custom_roles(&self, organization: &str, roles: Value) -> Result<(), ControlError> {
        control::set_custom_roles(&mut self.shared.lock(), organization, read(roles)?)
    }

    /// Changes a member's `status`, `roles`, `name` or `email_address`, as an administrator would,
    /// and returns the member.
    ///
    /// # Errors
    ///
    /// If there is no such member or role, or the patch holds anything else.
    pub fn patch_member(&self, id: &str, patch: Value) -> Result<Value, ControlError> {
        control::patch_member(&mut self.shared.lock(), id, read(patch)?)
    }
}

fn read<T: DeserializeOwned>(order: Value) -> Result<T, ControlError> {
    serde_json::from_value(order).map_err(|error| ControlError::Mistaken(error.to_string()))
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The port is free again once the thread has ended; if it panicked there is nothing to save.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}

type Started = oneshot::Sender<Result<(Shared, SocketAddr), StartError>>;

/// The life of the server's thread.
fn run(address: SocketAddr, world: World, started: Started, stopped: oneshot::Receiver<()>) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(StartError::Resources(error.to_string())))),
    };
    runtime.block_on(async move {
        let (listener, shared, bound) = match prepare(address, world).await {
            Ok(prepared) => prepared,
            Err(error) => return drop(started.send(Err(error))),
        };
        if started.send(Ok((shared.clone(), bound))).is_err() {
            return;
        }
        tokio::select! {
            never = server::serve(listener, shared) => match never {},
            _ = stopped => {}
        }
    });
}

async fn prepare(address: SocketAddr, world: World) -> Result<(TcpListener, Shared, SocketAddr), StartError> {
    let listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let shared =
        Shared::new(world).map_err(|_| StartError::Resources("no signing key could be made".into()))?;
    Ok((listener, shared, bound))
}
