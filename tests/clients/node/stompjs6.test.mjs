// @stomp/stompjs 6, which the co-editing example uses.
import library from "stompjs6";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";
import { RAW } from "./transports.mjs";

prove(stompJs("@stomp/stompjs 6", library));
prove(stompJs("@stomp/stompjs 6 in binary", library, { forceBinaryWSFrames: true }), [RAW]);
prove(stompJs("@stomp/stompjs 6 in pieces", library, { splitLargeFrames: true }), [RAW]);
