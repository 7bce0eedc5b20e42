//! The connection, with a library that plays from a script. Time is tokio's, which waits for nobody.

use std::cell::{Cell, RefCell};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::library::{Gone, Post};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(60);

thread_local! {
    /// Where connections of this test's thread are opened.
    static STAGE: RefCell<Option<UnboundedSender<Opened>>> = const { RefCell::new(None) };
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A connection that was opened, from the broker's side.
struct Opened {
    at: Instant,
    says: UnboundedSender<Result<Heard, Loss>>,
    asked: UnboundedReceiver<Asked>,
}

#[derive(Debug)]
enum Asked {
    Subscribe(String, oneshot::Sender<bool>),
    Publish(Message, oneshot::Sender<()>),
}

struct Scripted(UnboundedReceiver<Result<Heard, Loss>>);

#[derive(Debug, Clone)]
struct ScriptedPost(UnboundedSender<Asked>);

impl Library for Scripted {
    type Post = ScriptedPost;

    fn open(_: &Broker) -> (ScriptedPost, Self) {
        let ((says, heard), (asks, asked)) = (unbounded_channel(), unbounded_channel());
        let opened = Opened { at: Instant::now(), says, asked };
        STAGE.with_borrow(|stage| stage.as_ref().unwrap().send(opened).ok().unwrap());
        (ScriptedPost(asks), Self(heard))
    }

    async fn next(&mut self) -> Result<Heard, Loss> {
        match self.0.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

impl Post for ScriptedPost {
    async fn subscribe(&self, topic: &str) -> Result<bool, Gone> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::Subscribe(topic.to_owned(), answer)).map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    async fn publish(&self, topic: &str, payload: Vec<u8>, _: Qos) -> Result<(), Gone> {
        let (answer, answered) = oneshot::channel();
        let message = Message { payload: payload.into(), ..message(topic) };
        self.0.send(Asked::Publish(message, answer)).map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

impl Opened {
    fn says(&self, heard: Heard) {
        self.says.send(Ok(heard)).unwrap();
    }

    fn ends(&self, loss: Loss) {
        self.says.send(Err(loss)).unwrap();
    }

    /// Answers the next subscription, which is to this topic.
    async fn answers(&mut self, topic: &str, is_granted: bool) {
        match self.asked.recv().await {
            Some(Asked::Subscribe(asked, answer)) if asked == topic => {
                answer.send(is_granted).unwrap();
            }
            other => panic!("{topic} is not asked for, but {other:?}"),
        }
    }

    /// Lets the device in, and grants these subscriptions, which must be all.
    async fn grants(&mut self, topics: &[&str]) {
        self.says(Heard::Connected);
        for topic in topics {
            self.answers(topic, true).await;
        }
    }
}

/// The broker's side, and the running connection.
struct Stage {
    opened: UnboundedReceiver<Opened>,
    running: JoinHandle<()>,
}

impl Stage {
    /// Runs a connection after `prepare` has subscribed.
    fn set<T>(broker: Broker, prepare: impl FnOnce(&mut Connection<Scripted>) -> T) -> (Self, T) {
        let (stage, opened) = unbounded_channel();
        STAGE.set(Some(stage));
        let mut connection = Connection::of(broker, || 0.5, || SLEPT.get());
        let prepared = prepare(&mut connection);
        (Self { opened, running: tokio::spawn(connection.run()) }, prepared)
    }

    async fn next(&mut self) -> Opened {
        self.opened.recv().await.unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn broker() -> Broker {
    Broker {
        host: "broker".into(),
        port: 1883,
        tls: None,
        client_id: "device".into(),
        login: None,
        keep_alive: KEEP_ALIVE,
        clean_session: true,
        largest: 1 << 18,
        spread: Duration::ZERO,
    }
}

fn topics(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

fn message(topic: &str) -> Message {
    Message { topic: topic.to_owned(), payload: bytes::Bytes::new(), is_retained: false }
}

fn ready() -> Option<Event> {
    Some(Event::Ready { refused: Vec::new() })
}

fn lost(why: &str) -> Option<Event> {
    Some(Event::Lost { why: why.to_owned() })
}

fn reset() -> Loss {
    Loss::Else("reset".into())
}

/// Lets everybody run who can, and no time go by.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// MQ-3.
#[tokio::test(start_paused = true)]
async fn a_connection_is_ready_when_the_last_subscription_is_answered() {
    let (mut stage, (mut heard, publisher)) = Stage::set(broker(), |connection| {
        (connection.subscribe(topics(&["a", "b"])), connection.publisher())
    });
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    settle().await;
    assert_eq!(heard.heard(), None);
    assert_eq!(
        publisher.publish("up", Vec::new(), Qos::AtLeastOnce).await,
        Err(NotPublished::NoConnection)
    );
    opened.answers("b", true).await;
    assert_eq!(heard.next().await, ready());
}

#[tokio::test(start_paused = true)]
async fn each_channel_is_told_what_was_refused_to_it() {
    let (mut stage, (mut one, mut other)) = Stage::set(broker(), |connection| {
        (connection.subscribe(topics(&["a", "b"])), connection.subscribe(topics(&["c"])))
    });
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    opened.answers("b", false).await;
    opened.answers("c", true).await;
    assert_eq!(one.next().await, Some(Event::Ready { refused: topics(&["b"]) }));
    assert_eq!(other.next().await, ready());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_answered_ends_the_connection() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    let opened = stage.next().await;
    opened.says(Heard::Connected);
    assert_eq!(heard.next().await, lost("it does not answer a subscription"));
    assert_eq!(opened.at.elapsed(), PATIENCE);
    assert_eq!(stage.next().await.at.duration_since(opened.at), PATIENCE + SECOND);
}

/// MQ-4.
#[tokio::test(start_paused = true)]
async fn a_message_is_published_when_the_broker_has_acknowledged_it() {
    let (mut stage, publisher) = Stage::set(broker(), |connection| connection.publisher());
    let mut opened = stage.next().await;
    opened.grants(&[]).await;
    settle().await;
    let publish = |length| {
        let publisher = publisher.clone();
        tokio::spawn(
            async move { publisher.publish("up", vec![b'x'; length], Qos::AtLeastOnce).await },
        )
    };

    let published = publish(LARGEST_SENT);
    let Some(Asked::Publish(message, answer)) = opened.asked.recv().await else { panic!() };
    assert_eq!((message.topic.as_str(), message.payload.len()), ("up", LARGEST_SENT));
    assert!(!published.is_finished());
    answer.send(()).unwrap();
    assert_eq!(published.await.unwrap(), Ok(()));

    assert_eq!(publish(LARGEST_SENT + 1).await.unwrap(), Err(NotPublished::TooLarge));

    let (began, published) = (Instant::now(), publish(1));
    let Some(Asked::Publish(_, unanswered)) = opened.asked.recv().await else { panic!() };
    assert_eq!(published.await.unwrap(), Err(NotPublished::NotAcknowledged));
    assert_eq!(began.elapsed(), PATIENCE);
    drop(unanswered);

    let (began, published) = (Instant::now(), publish(1));
    let Some(Asked::Publish(_, _unanswered)) = opened.asked.recv().await else { panic!() };
    opened.ends(reset());
    assert_eq!(published.await.unwrap(), Err(NotPublished::NotAcknowledged));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(publish(1).await.unwrap(), Err(NotPublished::NoConnection));
}

/// MQ-3, MQ-6.
#[tokio::test(start_paused = true)]
async fn after_a_loss_comes_a_pause_and_then_the_same_again() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    for pause in [1, 2, 4] {
        let opened = stage.next().await;
        opened.ends(reset());
        assert_eq!(heard.next().await, lost("reset"));
        tokio::time::advance(pause * SECOND - SECOND / 10).await;
        settle().await;
        assert!(stage.opened.try_recv().is_err(), "not before {pause} s");
    }
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    assert_eq!(heard.next().await, ready());
    opened.says(Heard::Message(message("a")));
    assert_eq!(heard.next().await, Some(Event::Message(message("a"))));
}

#[tokio::test(start_paused = true)]
async fn channels_of_one_broker_share_a_connection_and_hear_their_own_topics() {
    let (mut stage, (mut one, mut other)) = Stage::set(broker(), |connection| {
        (connection.subscribe(topics(&["a", "both"])), connection.subscribe(topics(&["b", "both"])))
    });
    let mut opened = stage.next().await;
    opened.grants(&["a", "both", "b", "both"]).await;
    for topic in ["nobody's", "a", "b", "both"] {
        opened.says(Heard::Message(message(topic)));
    }
    for (heard, topics) in [(&mut one, ["a", "both"]), (&mut other, ["b", "both"])] {
        assert_eq!(heard.next().await, ready());
        for topic in topics {
            assert_eq!(heard.next().await, Some(Event::Message(message(topic))));
        }
        assert_eq!(heard.heard(), None);
    }
    assert!(stage.opened.try_recv().is_err(), "one connection");
    opened.ends(reset());
    assert_eq!((one.next().await, other.next().await), (lost("reset"), lost("reset")));
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_late_misses_nothing_and_holds_the_broker_up() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    assert_eq!(heard.next().await, ready());
    let numbered =
        |number: usize| Message { payload: number.to_string().into_bytes().into(), ..message("a") };
    for number in 0..3 * WAITING {
        opened.says(Heard::Message(numbered(number)));
    }
    settle().await;
    assert_eq!(heard.events.len(), WAITING);
    for number in 0..3 * WAITING {
        assert_eq!(heard.next().await, Some(Event::Message(numbered(number))));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_gone_holds_up_nobody() {
    let (mut stage, mut heard) = Stage::set(broker(), |connection| {
        drop(connection.subscribe(topics(&["a"])));
        connection.subscribe(topics(&["b"]))
    });
    let mut opened = stage.next().await;
    opened.grants(&["a", "b"]).await;
    assert_eq!(heard.next().await, ready());
    for _ in 0..2 * WAITING {
        opened.says(Heard::Message(message("a")));
    }
    opened.says(Heard::Message(message("b")));
    assert_eq!(heard.next().await, Some(Event::Message(message("b"))));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_news_is_woken_by_each_event() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    let news = heard.news();
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    news.notified().await;
    assert_eq!(heard.heard(), ready());
    opened.says(Heard::Message(message("a")));
    news.notified().await;
    assert_eq!(heard.heard(), Some(Event::Message(message("a"))));
}

fn numbered(number: usize) -> Message {
    Message { payload: number.to_string().into_bytes().into(), ..message("a") }
}

/// So that whoever answers it can send.
#[tokio::test(start_paused = true)]
async fn a_message_that_comes_before_the_last_answer_is_told_behind_it() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a", "b"])));
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    (0..WAITING).for_each(|number| opened.says(Heard::Message(numbered(number))));
    settle().await;
    assert_eq!(heard.heard(), None);
    opened.answers("b", true).await;
    assert_eq!(heard.next().await, ready());
    for number in 0..WAITING {
        assert_eq!(heard.next().await, Some(Event::Message(numbered(number))));
    }
    opened.says(Heard::Message(message("b")));
    assert_eq!(heard.next().await, Some(Event::Message(message("b"))));
}

/// A session that outlived its connection may bring a thousand.
#[tokio::test(start_paused = true)]
async fn more_messages_than_can_wait_come_before_it_in_their_order() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    let mut opened = stage.next().await;
    opened.says(Heard::Connected);
    (0..3 * WAITING).for_each(|number| opened.says(Heard::Message(numbered(number))));
    for number in 0..3 * WAITING {
        assert_eq!(heard.next().await, Some(Event::Message(numbered(number))));
    }
    opened.answers("a", true).await;
    assert_eq!(heard.next().await, ready());
}

/// MQ-5.
#[tokio::test(start_paused = true)]
async fn after_a_sleep_of_the_machine_the_broker_is_asked_again_at_once() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    let mut opened = stage.next().await;
    opened.grants(&["a"]).await;
    assert_eq!(heard.next().await, ready());
    // A sleep that is no longer than the broker waits is none of its business.
    SLEPT.set(KEEP_ALIVE);
    tokio::time::advance(5 * KEEP_ALIVE).await;
    settle().await;
    assert_eq!(heard.heard(), None);
    SLEPT.set(2 * KEEP_ALIVE + SECOND);
    let woke = Instant::now();
    assert_eq!(heard.next().await, lost("the machine has slept"));
    assert!(woke.elapsed() <= KEEP_ALIVE / 2);
    assert_eq!(stage.next().await.at, Instant::now());
}

/// MQ-6.
#[tokio::test(start_paused = true)]
async fn somebody_else_with_our_name_is_told_and_left_alone() {
    let (mut stage, mut heard) =
        Stage::set(broker(), |connection| connection.subscribe(topics(&["a"])));
    for thrown_out in 1..=3 {
        let mut opened = stage.next().await;
        opened.grants(&["a"]).await;
        assert_eq!(heard.next().await, ready());
        opened.ends(reset());
        let Some(Event::Lost { why }) = heard.next().await else { panic!() };
        assert_eq!(why.contains("another client seems to have our `client_id`"), thrown_out == 3);
    }
    let thrown_out = Instant::now();
    assert_eq!(stage.next().await.at.duration_since(thrown_out), 300 * SECOND);
}

/// MQ-6: devices of a fleet do not come together, neither at first nor later.
#[tokio::test(start_paused = true)]
async fn a_fleet_s_device_waits_for_its_part_of_the_spread() {
    let began = Instant::now();
    let (mut stage, ()) = Stage::set(Broker { spread: 20 * SECOND, ..broker() }, |_| ());
    let opened = stage.next().await;
    assert_eq!(opened.at - began, 10 * SECOND);
    opened.ends(reset());
    assert_eq!(stage.next().await.at - opened.at, 20 * SECOND);
}
