//! A mail server that takes everything and keeps it.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A mail server.
pub struct Mailbox {
    pub port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Mailbox {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&mails);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { port, mails }
    }

    /// Mails that came, as they were sent: head and parts.
    pub fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

/// Speaks as much of SMTP as it takes to be handed mail. Returns when the other side is gone.
fn serve(stream: TcpStream, mails: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let say = |reader: &mut BufReader<TcpStream>, line: &str| write!(reader.get_mut(), "{line}\r\n").ok();
    say(&mut reader, "220 mail.test")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.split([' ', '\r']).next()? {
            "DATA" => {
                say(&mut reader, "354 go on")?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if reader.read_line(&mut mail).ok()? == 0 {
                        return None;
                    }
                }
                mails.lock().unwrap().push(mail);
                say(&mut reader, "250 taken")?;
            }
            "QUIT" => return say(&mut reader, "221 bye"),
            _ => say(&mut reader, "250 fine")?,
        };
    }
}
