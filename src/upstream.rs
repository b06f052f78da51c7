//! Sends a request to an upstream, over a connection of this worker's own pool.
//!
//! What holds: a request is sent again only when no byte of an answer came and it is idempotent and
//! without a body, or when it certainly was not processed: no connection was there for it, or an
//! HTTP/2 upstream says so. Retries that an operator asked for are bounded by a budget.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Response, StatusCode, header};
use tokio::task::AbortHandle;

use self::answer::Answer;
use self::balance::Balancer;
use self::body::Outgoing;
use self::budget::Budget;
use self::cluster::Cluster;
use self::connect::Way;
use self::counted::Counted;
use self::form::{Outbound, for_http2};
use self::pool::{Endpoint, InFlight, Lease, Link, Multiplexed, Stream};
use self::room::{Place, Queue};
use crate::clock::{self, CoarseClock};
use crate::config::{self, UpstreamTimeouts};
use crate::fields::Headers as _;
use crate::metrics::{ConnectionState, UpstreamWorker};
use crate::server::record::{BodyState, Record};

pub mod answer;
mod balance;
pub mod body;
mod budget;
pub mod cluster;
mod connect;
mod counted;
mod failure;
pub mod form;
pub mod health;
pub mod http1;
pub mod io;
pub mod names;
mod pool;
mod room;
pub mod tls;

pub use self::failure::{Error, Failure};
pub use self::pool::Remains;

/// Instances that a request is offered to while none takes a connection.
const MOST_CONNECTS: usize = 3;

/// The head of a response, its body still to come.
pub type Answered = Response<Answer>;

/// On whose behalf a request goes out, how long it may take, and what may be done with it.
pub struct Order<'a> {
    pub record: &'a Record,
    pub timeouts: &'a UpstreamTimeouts,
    /// It has no body.
    pub is_bodiless: bool,
    /// And is idempotent (RFC 9110 section 9.2.2).
    pub may_repeat: bool,
    /// It asks to switch protocols.
    pub switches: bool,
}

/// One worker's connections to one upstream.
pub struct Upstream {
    cluster: Arc<Cluster>,
    /// One for each instance of the cluster, in its order as of `generation`.
    endpoints: Rc<RefCell<Rc<[Rc<Endpoint>]>>>,
    generation: Cell<u32>,
    balancer: Balancer,
    budget: Budget,
    queue: Option<Rc<Queue>>,
    /// Gives up idle connections for other workers.
    yielding: Option<AbortHandle>,
    clock: Rc<CoarseClock>,
    counts: UpstreamWorker,
}

impl Upstream {
    #[must_use]
    pub fn new(cluster: &Arc<Cluster>, clock: Rc<CoarseClock>, counts: UpstreamWorker) -> Self {
        let endpoints: Rc<RefCell<Rc<[Rc<Endpoint>]>>> = Rc::new(RefCell::new(Rc::new([])));
        let yielding = cluster.room.as_ref().map(|room| {
            let yielding = connect::yield_room(Arc::clone(room), Rc::clone(&endpoints));
            tokio::task::spawn_local(yielding).abort_handle()
        });
        let upstream = Self {
            cluster: Arc::clone(cluster),
            endpoints,
            generation: Cell::new(cluster.generation()),
            balancer: Balancer::new(cluster.settings.balance),
            budget: Budget::default(),
            queue: cluster.room.as_ref().map(|room| Rc::new(Queue::new(Arc::clone(room)))),
            yielding,
            clock,
            counts,
        };
        upstream.follow_cluster();
        upstream
    }

    #[must_use]
    pub fn settings(&self) -> &config::Upstream {
        &self.cluster.settings
    }

    /// Whether a connection to it can switch protocols, which one of HTTP/2 cannot. Over https the
    /// older protocol can be asked for.
    #[must_use]
    pub fn can_switch(&self) -> bool {
        let settings = self.settings();
        let is_https = |target: &config::Target| matches!(target, config::Target::Tcp { tls: true, .. });
        !settings.http2 || settings.targets.iter().all(is_https)
    }

    /// `Host` at the first of its places, when the client's own is not preserved.
    #[must_use]
    pub fn first_host(&self) -> Option<HeaderValue> {
        match &self.settings().host {
            config::UpstreamHost::Preserve => None,
            config::UpstreamHost::Fixed(host) => Some(host.clone()),
            config::UpstreamHost::Target => self.settings().targets.first().map(config::Target::authority),
        }
    }

    /// Sends a request to an instance, or to several in turn until one answers, and waits for the
    /// head of the response. `outbound` makes the request of a body for an upstream that is to be
    /// given that `Host`, or the client's own.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send<'r>(
        &self,
        order: &Order<'_>,
        body: Outgoing,
        outbound: &impl Fn(Option<HeaderValue>, Outgoing) -> Outbound<'r>,
    ) -> Result<Answered, Failure> {
        if self.generation.get() != self.cluster.generation() {
            self.follow_cluster();
        }
        let endpoint = match self.pick(&[]) {
            Some(endpoint) => endpoint,
            None => Box::pin(self.first_address(order)).await?,
        };
        if self.settings().retries > 0 {
            self.budget.request();
        }
        let mut request = Some(outbound(self.host_of(&endpoint), body));
        match self.send_to(&endpoint, order, &mut request).await {
            Ok(answered) => Ok(answered),
            // Boxed, or each client's connection would hold room for it.
            Err(failure) => Box::pin(self.send_again(failure, endpoint, order, request, outbound)).await,
        }
    }

    /// After a failure: to the same instance, to others, or not at all.
    async fn send_again<'r>(
        &self,
        mut failure: Failure,
        mut endpoint: Rc<Endpoint>,
        order: &Order<'_>,
        mut request: Option<Outbound<'r>>,
        outbound: &impl Fn(Option<HeaderValue>, Outgoing) -> Outbound<'r>,
    ) -> Result<Answered, Failure> {
        let mut tried = vec![Rc::clone(&endpoint)];
        let (mut unprocessed, mut retries) = (0, self.settings().retries);
        let mut was_dead = false;
        loop {
            let never_sent = request.is_some();
            match &failure {
                Failure::Connect(_) | Failure::ConnectTimeout => {
                    let next = self.pick(&tried).filter(|_| never_sent && tried.len() < MOST_CONNECTS);
                    let Some(next) = next else { return Err(failure) };
                    endpoint = next;
                }
                Failure::DeadLink if order.may_repeat && !was_dead => was_dead = true,
                Failure::Unprocessed(_) if order.is_bodiless && unprocessed < MOST_CONNECTS => {
                    unprocessed += 1;
                    endpoint = self.pick(&tried).unwrap_or(endpoint);
                }
                // A connection that ended before anything was written to it.
                Failure::Unprocessed(_) | Failure::DeadLink | Failure::Silent(_) | Failure::Exchange(_)
                    if never_sent && unprocessed < MOST_CONNECTS =>
                {
                    unprocessed += 1;
                }
                Failure::DeadLink | Failure::Silent(_)
                    if order.may_repeat && retries > 0 && self.budget.spend() =>
                {
                    retries -= 1;
                    endpoint = self.pick(&tried).unwrap_or(endpoint);
                }
                _ => return Err(failure),
            }
            tried.push(Rc::clone(&endpoint));
            if !never_sent {
                self.counts.retry();
            }
            let body = request.take().map_or_else(Outgoing::empty, |request| request.body);
            request = Some(outbound(self.host_of(&endpoint), body));
            let afresh = was_dead && matches!(failure, Failure::DeadLink);
            let sent = if afresh {
                self.send_afresh(&endpoint, order, &mut request).await
            } else {
                self.send_to(&endpoint, order, &mut request).await
            };
            match sent {
                Ok(answered) => return Ok(answered),
                Err(again) => failure = again,
            }
        }
    }

    /// Sends a request on a pooled connection of this instance, or on a new one. It is taken from
    /// its place when it is sent, and put back when it turns out never to have been written.
    async fn send_to(
        &self,
        endpoint: &Rc<Endpoint>,
        order: &Order<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Result<Answered, Failure> {
        let mut counted = Counted::new(&self.counts);
        while let Some(mut link) = endpoint.take_idle_in_turn() {
            link.counted.becomes(ConnectionState::Active);
            let sent = match self.send_on(InFlight::new(endpoint), link, order, request).await {
                // Never written: any other connection will do.
                Err(_) if request.is_some() => continue,
                Err(Failure::Silent(_)) => Err(Failure::DeadLink),
                sent => sent,
            };
            counted.ends(&sent);
            self.judge(endpoint, order, &sent);
            return sent;
        }
        // Boxed: a new connection costs more, and otherwise each client's would hold room for it.
        let sent = Box::pin(self.send_unpooled(endpoint, order, request)).await;
        counted.ends(&sent);
        sent
    }

    async fn send_afresh(
        &self,
        endpoint: &Rc<Endpoint>,
        order: &Order<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Result<Answered, Failure> {
        let mut counted = Counted::new(&self.counts);
        let sent = self.send_unpooled(endpoint, order, request).await;
        counted.ends(&sent);
        sent
    }

    async fn send_unpooled(
        &self,
        endpoint: &Rc<Endpoint>,
        order: &Order<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Result<Answered, Failure> {
        let load = InFlight::new(endpoint);
        let sent = match self.reach(endpoint, order).await {
            Ok(Way::Link(link)) => self.send_on(load, link, order, request).await,
            Ok(Way::Stream(on, place)) => self.send_in(load, on, place, order, request).await,
            Err(failure) => Err(failure),
        };
        self.judge(endpoint, order, &sent);
        sent
    }

    /// On a connection that carries nothing else.
    async fn send_on(
        &self,
        load: InFlight,
        mut link: Link,
        order: &Order<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Result<Answered, Failure> {
        if let Some(request) = request.as_mut().filter(|_| self.settings().http2) {
            // Meant for the protocol that the upstream did not choose.
            request.headers.take_out(&header::TE);
        }
        let connection = &mut link.connection;
        let answered = self.head_of(order, |cx| connection.poll_exchange(cx, request)).await;
        match answered {
            Ok(response) => {
                let lease = Lease::of_link(load, link, &self.clock);
                Ok(response.map(|decoder| Answer::http1(decoder, lease)))
            }
            Err(Failure::Exchange(error)) if error.gave_no_answer() && !link.connection.has_heard() => {
                Err(Failure::Silent(error))
            }
            Err(failure) => Err(failure),
        }
    }

    /// On a connection that carries others beside it.
    async fn send_in(
        &self,
        load: InFlight,
        on: Rc<Multiplexed>,
        place: Option<Place>,
        order: &Order<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Result<Answered, Failure> {
        let Some(mut outbound) = request.take() else { return Err(Failure::DeadLink) };
        let sent = for_http2(&mut outbound, on.is_secure, &load.endpoint().instance.host);
        let stream = Stream::begin(on, &self.clock);
        let mut sender = stream.on.sender.clone();
        let mut answer = pin!(sender.try_send_request(sent));
        let mut unsent = None;
        let answered = self.head_of(order, |cx| {
            answer.as_mut().poll(cx).map_err(|mut error| {
                unsent = error.take_message();
                error.into_error()
            })
        });
        let answered = answered.await;
        // One that was never written is put back in its place.
        *request = unsent.map(|unsent| Outbound { body: unsent.into_body(), ..outbound });
        match answered {
            Ok(response) => {
                let lease = Lease::of_stream(load, stream, place);
                Ok(response.map(|body| Answer::http2(body, lease)))
            }
            Err(Failure::ResponseTimeout) if order.record.was_cut().is_none() => {
                // A connection whose other end is gone would take every request to come.
                load.endpoint().give_up(&stream.on);
                Err(Failure::ResponseTimeout)
            }
            Err(Failure::Exchange(error)) if request.is_some() || error.was_not_processed() => {
                Err(Failure::Unprocessed(error))
            }
            Err(Failure::Exchange(error)) if error.gave_no_answer() => Err(Failure::Silent(error)),
            Err(failure) => Err(failure),
        }
    }

    /// Waits for the head of a response.
    fn head_of<'a, B, E: Into<Error>>(
        &'a self,
        order: &'a Order<'_>,
        mut poll_answer: impl FnMut(&mut Context<'_>) -> Poll<Result<Response<B>, E>> + 'a,
    ) -> impl Future<Output = Result<Response<B>, Failure>> + 'a {
        let Order { record, timeouts, .. } = order;
        record.expect_within(clock::ticks(timeouts.response), self.clock.now());
        poll_fn(move |cx| match poll_answer(cx) {
            Poll::Pending if record.timed_out() => Poll::Ready(Err(Failure::ResponseTimeout)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(response)) => {
                record.expect_within(clock::ticks(timeouts.idle), self.clock.now());
                Poll::Ready(Ok(response))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Exchange(error.into()))),
        })
    }

    fn pick(&self, tried: &[Rc<Endpoint>]) -> Option<Rc<Endpoint>> {
        let endpoints = self.endpoints.borrow();
        self.balancer.pick(&endpoints, tried, self.clock.now()).map(Rc::clone)
    }

    /// When none can be picked: waits for the first address of a name.
    async fn first_address(&self, order: &Order<'_>) -> Result<Rc<Endpoint>, Failure> {
        let arrived = async {
            loop {
                let mut changed = pin!(self.cluster.changed.notified());
                changed.as_mut().enable();
                self.follow_cluster();
                if let Some(endpoint) = self.pick(&[]) {
                    return Ok(endpoint);
                }
                if !self.endpoints.borrow().is_empty() {
                    return Err(Failure::NoneHealthy);
                }
                changed.await;
            }
        };
        tokio::time::timeout(order.timeouts.connect, arrived).await.map_err(|_| Failure::NoAddress)?
    }

    /// `Host` for an endpoint when the client's own is not preserved.
    fn host_of(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        match &self.settings().host {
            config::UpstreamHost::Preserve => None,
            config::UpstreamHost::Fixed(host) => Some(host.clone()),
            config::UpstreamHost::Target => Some(endpoint.instance.host.clone()),
        }
    }

    /// Draws from how a request ended what it says about its instance.
    fn judge(&self, endpoint: &Rc<Endpoint>, order: &Order<'_>, sent: &Result<Answered, Failure>) {
        let took_none = match sent {
            Err(Failure::Connect(error)) => Some(error.to_string()),
            Err(failure @ Failure::ConnectTimeout) => Some(failure.to_string()),
            _ => None,
        };
        if let Some(error) = took_none
            && endpoint.rest(self.clock.now())
        {
            let (upstream, instance) = (&self.settings().name, &endpoint.instance.address);
            tracing::warn!(upstream, %instance, error, "an instance takes no connection");
        }
        if self.settings().outlier.is_none() {
            return;
        }
        let failed = match sent {
            Ok(response) => matches!(
                response.status(),
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
            // Of a kept connection that its upstream had closed nothing follows.
            Err(
                Failure::NoAddress
                | Failure::NoneHealthy
                | Failure::Full
                | Failure::DeadLink
                | Failure::Unprocessed(_),
            ) => return,
            Err(_) if order.record.body() != BodyState::Fine || order.record.was_cut().is_some() => return,
            Err(_) => true,
        };
        if !failed {
            endpoint.instance.succeeded();
        } else if let Some(time) = self.cluster.failed(&endpoint.instance) {
            let instance = Arc::clone(&endpoint.instance);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(time).await;
                instance.readmit();
            });
        }
    }

    /// Takes over the cluster's instances. What is known of those that stay, is kept; connections to
    /// the others end with the requests on them.
    fn follow_cluster(&self) {
        self.generation.set(self.cluster.generation());
        let known = self.endpoints.borrow().clone();
        let endpoints = self
            .cluster
            .instances()
            .iter()
            .map(|instance| {
                let kept = known.iter().find(|endpoint| Arc::ptr_eq(&endpoint.instance, instance));
                kept.map_or_else(|| Rc::new(Endpoint::new(instance, self.queue.as_ref())), Rc::clone)
            })
            .collect();
        self.endpoints.replace(endpoints);
    }

    /// Once a second: closes connections that nobody used for `timeouts.idle`.
    pub fn sweep(&self) {
        if self.generation.get() != self.cluster.generation() {
            self.follow_cluster();
        }
        self.budget.second();
        let oldest = self.clock.now().saturating_sub(clock::ticks(self.settings().timeouts.idle));
        for endpoint in &**self.endpoints.borrow() {
            endpoint.sweep(oldest);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(yielding) = &self.yielding {
            yielding.abort();
        }
    }
}
