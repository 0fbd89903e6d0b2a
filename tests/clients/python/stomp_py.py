"""Drives a running Stampede with stomp.py over WebSocket; the port is in STAMPEDE_PORT."""

import os
import queue
import unittest
import uuid

import stomp

HOST = ("127.0.0.1", int(os.environ["STAMPEDE_PORT"]))
PATIENCE = 20
UNICODE = "héllo wörld, \u2028 漢字 e\u0301 😀 100% \"quoted\" \\ \t end"


class Inbox(stomp.ConnectionListener):
    """Hands what the receiver thread reads to the test."""

    def __init__(self):
        self.messages, self.receipts, self.errors, self.beats = (queue.Queue() for _ in range(4))
        self.greeting, self.ended = queue.Queue(), queue.Queue()

    def on_connected(self, frame):
        self.greeting.put(frame)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats.put("beat")

    def on_disconnected(self):
        self.ended.put("ended")


class Client:
    """One session, and the waiting that goes with it."""

    def __init__(self, login="py", **options):
        self.inbox = Inbox()
        self.connection = stomp.WSStompConnection([HOST], ws_path="/ws", **options)
        self.connection.set_listener("inbox", self.inbox)
        self.connection.connect(login, "secret", wait=True)

    def receipt(self, action):
        wanted = uuid.uuid4().hex
        action(wanted)
        got = self.inbox.receipts.get(timeout=PATIENCE)
        assert got == wanted, f"RECEIPT {got} instead of {wanted}"

    def listen(self, destination, number, **headers):
        self.receipt(lambda receipt: self.connection.subscribe(destination, number, receipt=receipt, **headers))

    def message(self):
        return self.inbox.messages.get(timeout=PATIENCE)

    def leave(self):
        """stomp.py drops the connection as soon as the RECEIPT for DISCONNECT is there, and not before."""
        self.connection.disconnect(receipt=uuid.uuid4().hex)
        self.inbox.ended.get(timeout=PATIENCE)


class StompPy(unittest.TestCase):
    def setUp(self):
        self.client = Client()
        self.connection = self.client.connection

    def tearDown(self):
        self.client.leave()
        self.assertTrue(self.client.inbox.errors.empty())

    def test_connects_with_version_1_2(self):
        self.assertEqual(self.client.inbox.greeting.get(timeout=PATIENCE).headers["version"], "1.2")

    def test_text_and_headers_come_back_unchanged(self):
        self.client.listen("/topic/exact", 1)
        self.connection.send("/topic/exact", UNICODE, headers={"note": "a:b \\ c\nd"})
        message = self.client.message()
        self.assertEqual(message.body, UNICODE)
        self.assertEqual(message.headers["note"], "a:b \\ c\nd")
        self.assertEqual(message.headers["subscription"], "1")

    def test_binary_bodies_travel_in_binary_mode(self):
        raw = Client(binary_mode=True, auto_decode=False)
        raw.listen("/topic/binary", 1)
        body = bytes(range(256))
        raw.connection.send("/topic/binary", body, content_type="application/octet-stream")
        self.assertEqual(raw.message().body, body)
        raw.leave()

    def test_patterns_and_user_destinations(self):
        self.client.listen("/topic/part/*", 1)
        self.client.listen("/user/queue/note", 2)
        self.client.listen("/user/12/34/queue/chat", 3)
        for destination in ("/topic/part/a", "/user/py/queue/note", "/user/12/34/queue/chat"):
            self.connection.send(destination, destination)
            self.assertEqual(self.client.message().body, destination)

    def test_a_large_body(self):
        self.client.listen("/topic/large", 1)
        body = "0123456789abcdef" * 65_536
        self.connection.send("/topic/large", body)
        self.assertTrue(self.client.message().body == body)

    def test_ack_of_many(self):
        self.client.listen("/queue/work/py-client", 1, ack="client")
        for body in ("one", "two", "three"):
            self.connection.send("/queue/work/py-client", body)
        messages = [self.client.message() for _ in range(3)]
        self.connection.ack(messages[1].headers["ack"])
        self.end(1)
        self.client.listen("/queue/work/py-client", 2)
        self.assertEqual(self.client.message().body, "three")

    def test_nack_brings_a_message_back(self):
        self.client.listen("/queue/work/py-single", 1, ack="client-individual")
        self.connection.send("/queue/work/py-single", "refused")
        self.connection.nack(self.client.message().headers["ack"])
        again = self.client.message()
        self.assertEqual((again.body, again.headers["redelivered"]), ("refused", "true"))
        self.connection.ack(again.headers["ack"])

    def test_transactions(self):
        self.client.listen("/topic/transaction", 1)
        transaction = self.connection.begin()
        self.connection.send("/topic/transaction", "second", transaction=transaction)
        self.connection.send("/topic/transaction", "first")
        self.assertEqual(self.client.message().body, "first")
        self.connection.commit(transaction)
        self.assertEqual(self.client.message().body, "second")
        aborted = self.connection.begin()
        self.connection.send("/topic/transaction", "never", transaction=aborted)
        self.connection.abort(aborted)
        self.connection.send("/topic/transaction", "end")
        self.assertEqual(self.client.message().body, "end")

    def test_nothing_comes_after_unsubscribe(self):
        self.client.listen("/topic/ended", 1)
        self.client.listen("/topic/other", 2)
        self.end(1)
        self.connection.send("/topic/ended", "late")
        self.connection.send("/topic/other", "end")
        self.assertEqual(self.client.message().body, "end")

    def test_heart_beats_arrive(self):
        beating = Client(heartbeats=(300, 300))
        for _ in range(3):
            beating.inbox.beats.get(timeout=PATIENCE)
        beating.leave()

    def end(self, number):
        self.client.receipt(lambda receipt: self.connection.unsubscribe(number, receipt=receipt))


if __name__ == "__main__":
    unittest.main()
