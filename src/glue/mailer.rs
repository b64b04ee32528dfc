//! Hands mail to the server that delivers it.
//!
//! Called on threads that may wait. Invariants: nothing is said before the connection is secured, unless the configuration does without; the
//! server's address is looked at like that of any other receiver.

use std::{net::ToSocketAddrs as _, time::Duration};

use alerting::{
    config::http::TlsConfig,
    notify::{Answer, Mail, email::MailTls, guard::Allowed},
};
use lettre::{
    Address, SmtpTransport, Transport as _,
    address::Envelope,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};

/// How long a server may take for one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// What is answered where there is no answer, in the words of mail servers: later.
const LATER: u16 = 450;

/// Hands a mail over; the code of the server is the answer's status. Blocks.
///
/// # Errors
/// Why there is no answer.
pub fn send(mail: &Mail, tls: Option<&TlsConfig>, allowed: &Allowed) -> Result<Answer, String> {
    let host = mail.smarthost.host.as_str();
    let port = match mail.smarthost.port.as_str() {
        "smtp" => 25,
        "smtps" | "submissions" => 465,
        "submission" => 587,
        number => number.parse().map_err(|_| "the mail server's port is none".to_owned())?,
    };
    let found = (host, port).to_socket_addrs().map_err(|_| "the mail server's name has no address".to_owned())?;
    if !found.into_iter().any(|address| allowed.allows(address.ip())) {
        return Err(
            "the mail server's address is not public; name its network in `alerting.allowed_networks`".to_owned()
        );
    }
    let parameters = || -> Result<TlsParameters, String> {
        let mut parameters = TlsParameters::builder(host.to_owned());
        if let Some(tls) = tls {
            parameters = parameters.dangerous_accept_invalid_certs(tls.insecure_skip_verify);
            let ca = match &tls.ca_file {
                Some(path) => std::fs::read(path).map_err(|error| format!("its ca_file cannot be read: {error}"))?,
                None => tls.ca.clone().into_bytes(),
            };
            if !ca.is_empty() {
                let certificate = Certificate::from_pem(&ca).map_err(|_| "its ca is no PEM".to_owned())?;
                parameters = parameters.add_root_certificate(certificate);
            }
        }
        parameters.build().map_err(|error| format!("its TLS cannot be configured: {error}"))
    };
    let secured = match mail.tls {
        MailTls::Implicit => Tls::Wrapper(parameters()?),
        MailTls::StartTls => Tls::Required(parameters()?),
        MailTls::None => Tls::None,
    };
    let mut transport = SmtpTransport::builder_dangerous(host).port(port).tls(secured).timeout(Some(STEP_TIMEOUT));
    if !mail.hello.is_empty() {
        transport = transport.hello_name(ClientId::Domain(mail.hello.clone()));
    }
    if let Some(auth) = &mail.auth
        && let Some(password) = auth.password.clone()
    {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
        transport = transport.credentials(Credentials::new(auth.username.clone(), password)).authentication(mechanisms);
    }
    let address = |text: &str| text.parse::<Address>().map_err(|_| "one of its addresses is none".to_owned());
    let to = mail.to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(Some(address(&mail.from)?), to).map_err(|error| error.to_string())?;
    match transport.build().send_raw(&envelope, &mail.message()) {
        Ok(response) => {
            let text: String = response.message().collect::<Vec<_>>().join(" ");
            Ok(Answer { status: response.code().into(), retry_after_ms: None, body: text.into_bytes() })
        }
        Err(error) => match error.status() {
            Some(code) => {
                Ok(Answer { status: code.into(), retry_after_ms: None, body: error.to_string().into_bytes() })
            }
            None if error.is_timeout() => Err("no answer of the mail server in time".to_owned()),
            None => Ok(Answer { status: LATER, retry_after_ms: None, body: error.to_string().into_bytes() }),
        },
    }
}
