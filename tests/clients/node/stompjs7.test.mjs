// @stomp/stompjs 7, the current one.
import * as library from "@stomp/stompjs";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(stompJs("@stomp/stompjs 7", library));
