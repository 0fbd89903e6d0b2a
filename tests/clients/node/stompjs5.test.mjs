// @stomp/stompjs 5, the first with the Client class.
import library from "stompjs5";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";
import { RAW } from "./transports.mjs";

prove(stompJs("@stomp/stompjs 5", library));
prove(stompJs("@stomp/stompjs 5 in binary", library, { forceBinaryWSFrames: true }), [RAW]);
prove(stompJs("@stomp/stompjs 5 in pieces", library, { splitLargeFrames: true }), [RAW]);
