// stompjs 2.3.3: STOMP 1.1, no escapes, frames cut into pieces of 16 384 characters.
import { stompJs2 } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(stompJs2);
