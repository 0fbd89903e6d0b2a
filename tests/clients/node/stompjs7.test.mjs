// @stomp/stompjs 7, the current one.
import * as library from "@stomp/stompjs";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";
import { RAW } from "./transports.mjs";

prove(stompJs("@stomp/stompjs 7", library));
prove(stompJs("@stomp/stompjs 7 in binary", library, { forceBinaryWSFrames: true }), [RAW]);
prove(stompJs("@stomp/stompjs 7 in pieces", library, { splitLargeFrames: true }), [RAW]);
